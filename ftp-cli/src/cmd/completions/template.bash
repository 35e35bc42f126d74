# Bash completion for ftp-cli: source this file, or save it as
# ~/.local/share/bash-completion/completions/ftp-cli
_ftp_cli_bookmarks() {
    local file=${FTP_CLI_CONFIG-${XDG_CONFIG_HOME:-$HOME/.config}/ftp-cli/config.toml}
    [[ -r $file ]] && sed -n '@BOOKMARKS@' -- "$file"
}
_ftp_cli() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local equal=
    if [[ $cur == = ]]; then
        equal=y cur=
    elif [[ $prev == = ]]; then
        equal=y prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    # By default, `@` is a separate word too; bookmarks begin with it.
    local mark=
    if [[ $COMP_WORDBREAKS == *@* && $cur == @ ]]; then
        mark=apart cur=
    elif [[ $prev == @ ]]; then
        mark=apart
    elif [[ $cur == @* ]]; then
        mark=y
    fi
    local at command= options= words= files= taking=
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in
            =) at=$((at + 1)) ;;
            @TAKING@) [[ ${COMP_WORDS[at+1]} == = ]] && at=$((at + 1)); at=$((at + 1)) ;;
            -*) ;;
            *) command=${COMP_WORDS[at]}; break ;;
        esac
    done
    case $command in
@CASES@
    esac
    if [[ -z $taking && $cur == -* ]]; then
        words=$options files=
    fi
    if [[ -z $taking && -n $mark && $options == *' --no-config'* ]]; then
        compopt -o nospace
        words=$(_ftp_cli_bookmarks) files=
        [[ $mark == apart ]] && words=${words//@/}
    fi
    case $files in
        f) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        d) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur") ;;
    esac
}
complete -F _ftp_cli ftp-cli

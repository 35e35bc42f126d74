#compdef ftp-cli
# Zsh completion for ftp-cli: save it as _ftp-cli in a directory of $fpath.
_ftp-cli_operand() {
    if [[ $PREFIX != @* ]]; then
        (( $# )) && "$@"
        return
    fi
    local file=${FTP_CLI_CONFIG-${XDG_CONFIG_HOME:-$HOME/.config}/ftp-cli/config.toml}
    local -a names
    [[ -r $file ]] && names=(${(f)"$(sed -n '@BOOKMARKS@' -- $file)"})
    (( $#names )) && compadd -S '' -- $names
}
_ftp-cli_commands() {
    local -a commands=(
@COMMANDS@
    )
    _describe command commands
}
_ftp-cli() {
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C -s -S \
@OPTIONS@
        '1:command:->command' '*::operand:->operand' && return
    if [[ $state == command ]]; then
        _ftp-cli_commands
        return
    fi
    case $line[1] in
@CASES@
    esac
}
if [[ $funcstack[1] == _ftp-cli ]]; then
    _ftp-cli "$@"
else
    compdef _ftp-cli ftp-cli
fi

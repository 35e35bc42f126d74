# Fish completion for ftp-cli: save it as ~/.config/fish/completions/ftp-cli.fish
function __ftp_cli_bookmarks
    set -l file $HOME/.config/ftp-cli/config.toml
    test -n "$XDG_CONFIG_HOME"; and set file $XDG_CONFIG_HOME/ftp-cli/config.toml
    set -q FTP_CLI_CONFIG; and set file $FTP_CLI_CONFIG
    test -r "$file"; and sed -n '@BOOKMARKS@' -- "$file"
end
function __ftp_cli_command
    set -l words (commandline -opc)
    set -e words[1]
    set -l skip no
    for word in $words
        if test $skip = yes
            set skip no
            continue
        end
        switch $word
            case @TAKING@
                set skip yes
            case '-*'
            case '*'
                echo $word
                return 0
        end
    end
    return 1
end
complete -c ftp-cli -f
@OPTIONS@

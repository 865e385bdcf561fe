# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_waltool_global_optspecs
    string join \n color= h/help V/version
end

function __fish_waltool_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_waltool_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_waltool_using_subcommand
    set -l cmd (__fish_waltool_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c waltool -n "__fish_waltool_needs_command" -l color -d 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c waltool -n "__fish_waltool_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c waltool -n "__fish_waltool_needs_command" -s V -l version -d 'Print version'
complete -c waltool -n "__fish_waltool_needs_command" -f -a "dump" -d 'Print every record of a log'
complete -c waltool -n "__fish_waltool_needs_command" -f -a "verify" -d 'Check every byte of a log and give a verdict with its evidence'
complete -c waltool -n "__fish_waltool_needs_command" -f -a "repair" -d 'Cut a torn tail, after saying what the cut loses'
complete -c waltool -n "__fish_waltool_needs_command" -f -a "replay" -d 'Apply the committed changes of a log to a target file'
complete -c waltool -n "__fish_waltool_needs_command" -f -a "load" -d 'Build a native log from the lines of `dump --json`'
complete -c waltool -n "__fish_waltool_needs_command" -f -a "copy" -d 'Take a copy of a log, also while it is written'
complete -c waltool -n "__fish_waltool_needs_command" -f -a "formats" -d 'List the formats that are understood'
complete -c waltool -n "__fish_waltool_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c waltool -n "__fish_waltool_needs_command" -f -a "man" -d 'Print the manual page'
complete -c waltool -n "__fish_waltool_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l format -d 'Take LOG for this format, whatever it looks like' -r -f -a "native\t''
sqlite\t''"
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l from -d 'Begin at this position of the format, or at the byte @OFFSET' -r
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l to -d 'End with this position, or with the byte @OFFSET' -r
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l since -d 'Only transactions committed at this time or later; UTC unless it says otherwise' -r
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l until -d 'Only transactions committed at this time or before' -r
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l kind -d 'Only records of this kind; may be given several times' -r
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l limit -d 'At most so many records' -r
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l tail -d 'Only the last N of the records that the other options select' -r
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l color -d 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l json -d 'One JSON object a line, payloads in hexadecimal'
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l hex -d 'Show each payload as a panel of hexadecimal and characters'
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l raw -d 'Payloads only, byte for byte'
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l no-payload -d 'Leave the payload out of `--json`'
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l spans -d 'Every byte of the log: fill, stale and unwritten bytes too'
complete -c waltool -n "__fish_waltool_using_subcommand dump" -l strict -d 'Exit with the code of the verdict'
complete -c waltool -n "__fish_waltool_using_subcommand dump" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c waltool -n "__fish_waltool_using_subcommand verify" -l format -d 'Take LOG for this format, whatever it looks like' -r -f -a "native\t''
sqlite\t''"
complete -c waltool -n "__fish_waltool_using_subcommand verify" -s j -l jobs -d 'Use so many threads [default: one per processor]' -r
complete -c waltool -n "__fish_waltool_using_subcommand verify" -l color -d 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c waltool -n "__fish_waltool_using_subcommand verify" -l json -d 'One JSON object a log'
complete -c waltool -n "__fish_waltool_using_subcommand verify" -s q -l quiet -d 'Print nothing about clean logs'
complete -c waltool -n "__fish_waltool_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c waltool -n "__fish_waltool_using_subcommand repair" -l format -d 'Take LOG for this format, whatever it looks like' -r -f -a "native\t''
sqlite\t''"
complete -c waltool -n "__fish_waltool_using_subcommand repair" -s o -l output -d 'Write the result as NEW and leave the log as it is' -r -F
complete -c waltool -n "__fish_waltool_using_subcommand repair" -l quarantine-dir -d 'Keep what is taken out in DIR instead of beside the log' -r -f -a "(__fish_complete_directories)"
complete -c waltool -n "__fish_waltool_using_subcommand repair" -l color -d 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c waltool -n "__fish_waltool_using_subcommand repair" -s n -l dry-run -d 'Only show what would be done; exit 0 if it could be'
complete -c waltool -n "__fish_waltool_using_subcommand repair" -s y -l yes -d 'Do not ask'
complete -c waltool -n "__fish_waltool_using_subcommand repair" -l cut-at-damage -d 'Cut at the first damage, whatever stands behind it'
complete -c waltool -n "__fish_waltool_using_subcommand repair" -l accept-loss -d 'Accept that --cut-at-damage loses acknowledged data'
complete -c waltool -n "__fish_waltool_using_subcommand repair" -l salvage -d 'Write a new log of all whole transactions, those behind the damage too'
complete -c waltool -n "__fish_waltool_using_subcommand repair" -l fix-bit -d 'Flip back the single bits that explain failed checks; cut nothing'
complete -c waltool -n "__fish_waltool_using_subcommand repair" -l undo -d 'Put back what earlier repairs took out'
complete -c waltool -n "__fish_waltool_using_subcommand repair" -l json -d 'One JSON object'
complete -c waltool -n "__fish_waltool_using_subcommand repair" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c waltool -n "__fish_waltool_using_subcommand replay" -l format -d 'Take LOG for this format, whatever it looks like' -r -f -a "native\t''
sqlite\t''"
complete -c waltool -n "__fish_waltool_using_subcommand replay" -l onto -d 'The file that the log\'s changes belong to' -r -F
complete -c waltool -n "__fish_waltool_using_subcommand replay" -s o -l output -d 'Write the result as NEW and leave TARGET as it is' -r -F
complete -c waltool -n "__fish_waltool_using_subcommand replay" -l until -d 'Stop at the last commit that is not behind this position, @offset or time' -r
complete -c waltool -n "__fish_waltool_using_subcommand replay" -l max-target-size -d 'Refuse to make TARGET longer than this' -r
complete -c waltool -n "__fish_waltool_using_subcommand replay" -l color -d 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c waltool -n "__fish_waltool_using_subcommand replay" -l in-place -d 'Change TARGET itself, without a copy; after an interruption, run it again'
complete -c waltool -n "__fish_waltool_using_subcommand replay" -s n -l dry-run -d 'Only show what would change'
complete -c waltool -n "__fish_waltool_using_subcommand replay" -l json -d 'One JSON object'
complete -c waltool -n "__fish_waltool_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c waltool -n "__fish_waltool_using_subcommand load" -s o -l output -d 'The log to write, a directory that does not exist' -r -F
complete -c waltool -n "__fish_waltool_using_subcommand load" -l color -d 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c waltool -n "__fish_waltool_using_subcommand load" -l json -d 'One JSON object'
complete -c waltool -n "__fish_waltool_using_subcommand load" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c waltool -n "__fish_waltool_using_subcommand copy" -l format -d 'Take LOG for this format, whatever it looks like' -r -f -a "native\t''
sqlite\t''"
complete -c waltool -n "__fish_waltool_using_subcommand copy" -l color -d 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c waltool -n "__fish_waltool_using_subcommand copy" -l json -d 'One JSON object'
complete -c waltool -n "__fish_waltool_using_subcommand copy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c waltool -n "__fish_waltool_using_subcommand formats" -l color -d 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c waltool -n "__fish_waltool_using_subcommand formats" -l json -d 'One JSON object a format'
complete -c waltool -n "__fish_waltool_using_subcommand formats" -s h -l help -d 'Print help'
complete -c waltool -n "__fish_waltool_using_subcommand completions" -l color -d 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c waltool -n "__fish_waltool_using_subcommand completions" -s h -l help -d 'Print help'
complete -c waltool -n "__fish_waltool_using_subcommand man" -l color -d 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set' -r -f -a "auto\t''
always\t''
never\t''"
complete -c waltool -n "__fish_waltool_using_subcommand man" -s h -l help -d 'Print help'
complete -c waltool -n "__fish_waltool_using_subcommand help; and not __fish_seen_subcommand_from dump verify repair replay load copy formats completions man help" -f -a "dump" -d 'Print every record of a log'
complete -c waltool -n "__fish_waltool_using_subcommand help; and not __fish_seen_subcommand_from dump verify repair replay load copy formats completions man help" -f -a "verify" -d 'Check every byte of a log and give a verdict with its evidence'
complete -c waltool -n "__fish_waltool_using_subcommand help; and not __fish_seen_subcommand_from dump verify repair replay load copy formats completions man help" -f -a "repair" -d 'Cut a torn tail, after saying what the cut loses'
complete -c waltool -n "__fish_waltool_using_subcommand help; and not __fish_seen_subcommand_from dump verify repair replay load copy formats completions man help" -f -a "replay" -d 'Apply the committed changes of a log to a target file'
complete -c waltool -n "__fish_waltool_using_subcommand help; and not __fish_seen_subcommand_from dump verify repair replay load copy formats completions man help" -f -a "load" -d 'Build a native log from the lines of `dump --json`'
complete -c waltool -n "__fish_waltool_using_subcommand help; and not __fish_seen_subcommand_from dump verify repair replay load copy formats completions man help" -f -a "copy" -d 'Take a copy of a log, also while it is written'
complete -c waltool -n "__fish_waltool_using_subcommand help; and not __fish_seen_subcommand_from dump verify repair replay load copy formats completions man help" -f -a "formats" -d 'List the formats that are understood'
complete -c waltool -n "__fish_waltool_using_subcommand help; and not __fish_seen_subcommand_from dump verify repair replay load copy formats completions man help" -f -a "completions" -d 'Print a completion script for a shell'
complete -c waltool -n "__fish_waltool_using_subcommand help; and not __fish_seen_subcommand_from dump verify repair replay load copy formats completions man help" -f -a "man" -d 'Print the manual page'
complete -c waltool -n "__fish_waltool_using_subcommand help; and not __fish_seen_subcommand_from dump verify repair replay load copy formats completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'


use builtin;
use str;

set edit:completion:arg-completer[waltool] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'waltool'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'waltool'= {
            cand --color 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand dump 'Print every record of a log'
            cand verify 'Check every byte of a log and give a verdict with its evidence'
            cand repair 'Cut a torn tail, after saying what the cut loses'
            cand replay 'Apply the committed changes of a log to a target file'
            cand load 'Build a native log from the lines of `dump --json`'
            cand copy 'Take a copy of a log, also while it is written'
            cand formats 'List the formats that are understood'
            cand completions 'Print a completion script for a shell'
            cand man 'Print the manual page'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'waltool;dump'= {
            cand --format 'Take LOG for this format, whatever it looks like'
            cand --from 'Begin at this position of the format, or at the byte @OFFSET'
            cand --to 'End with this position, or with the byte @OFFSET'
            cand --since 'Only transactions committed at this time or later; UTC unless it says otherwise'
            cand --until 'Only transactions committed at this time or before'
            cand --kind 'Only records of this kind; may be given several times'
            cand --limit 'At most so many records'
            cand --tail 'Only the last N of the records that the other options select'
            cand --color 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set'
            cand --json 'One JSON object a line, payloads in hexadecimal'
            cand --hex 'Show each payload as a panel of hexadecimal and characters'
            cand --raw 'Payloads only, byte for byte'
            cand --no-payload 'Leave the payload out of `--json`'
            cand --spans 'Every byte of the log: fill, stale and unwritten bytes too'
            cand --strict 'Exit with the code of the verdict'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'waltool;verify'= {
            cand --format 'Take LOG for this format, whatever it looks like'
            cand -j 'Use so many threads [default: one per processor]'
            cand --jobs 'Use so many threads [default: one per processor]'
            cand --color 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set'
            cand --json 'One JSON object a log'
            cand -q 'Print nothing about clean logs'
            cand --quiet 'Print nothing about clean logs'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'waltool;repair'= {
            cand --format 'Take LOG for this format, whatever it looks like'
            cand -o 'Write the result as NEW and leave the log as it is'
            cand --output 'Write the result as NEW and leave the log as it is'
            cand --quarantine-dir 'Keep what is taken out in DIR instead of beside the log'
            cand --color 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set'
            cand -n 'Only show what would be done; exit 0 if it could be'
            cand --dry-run 'Only show what would be done; exit 0 if it could be'
            cand -y 'Do not ask'
            cand --yes 'Do not ask'
            cand --cut-at-damage 'Cut at the first damage, whatever stands behind it'
            cand --accept-loss 'Accept that --cut-at-damage loses acknowledged data'
            cand --salvage 'Write a new log of all whole transactions, those behind the damage too'
            cand --fix-bit 'Flip back the single bits that explain failed checks; cut nothing'
            cand --undo 'Put back what earlier repairs took out'
            cand --json 'One JSON object'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'waltool;replay'= {
            cand --format 'Take LOG for this format, whatever it looks like'
            cand --onto 'The file that the log''s changes belong to'
            cand -o 'Write the result as NEW and leave TARGET as it is'
            cand --output 'Write the result as NEW and leave TARGET as it is'
            cand --until 'Stop at the last commit that is not behind this position, @offset or time'
            cand --max-target-size 'Refuse to make TARGET longer than this'
            cand --color 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set'
            cand --in-place 'Change TARGET itself, without a copy; after an interruption, run it again'
            cand -n 'Only show what would change'
            cand --dry-run 'Only show what would change'
            cand --json 'One JSON object'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'waltool;load'= {
            cand -o 'The log to write, a directory that does not exist'
            cand --output 'The log to write, a directory that does not exist'
            cand --color 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set'
            cand --json 'One JSON object'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'waltool;copy'= {
            cand --format 'Take LOG for this format, whatever it looks like'
            cand --color 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set'
            cand --json 'One JSON object'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'waltool;formats'= {
            cand --color 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set'
            cand --json 'One JSON object a format'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'waltool;completions'= {
            cand --color 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'waltool;man'= {
            cand --color 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'waltool;help'= {
            cand dump 'Print every record of a log'
            cand verify 'Check every byte of a log and give a verdict with its evidence'
            cand repair 'Cut a torn tail, after saying what the cut loses'
            cand replay 'Apply the committed changes of a log to a target file'
            cand load 'Build a native log from the lines of `dump --json`'
            cand copy 'Take a copy of a log, also while it is written'
            cand formats 'List the formats that are understood'
            cand completions 'Print a completion script for a shell'
            cand man 'Print the manual page'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'waltool;help;dump'= {
        }
        &'waltool;help;verify'= {
        }
        &'waltool;help;repair'= {
        }
        &'waltool;help;replay'= {
        }
        &'waltool;help;load'= {
        }
        &'waltool;help;copy'= {
        }
        &'waltool;help;formats'= {
        }
        &'waltool;help;completions'= {
        }
        &'waltool;help;man'= {
        }
        &'waltool;help;help'= {
        }
    ]
    $completions[$command]
}

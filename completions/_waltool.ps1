
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'waltool' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'waltool'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'waltool' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('dump', 'dump', [CompletionResultType]::ParameterValue, 'Print every record of a log')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Check every byte of a log and give a verdict with its evidence')
            [CompletionResult]::new('repair', 'repair', [CompletionResultType]::ParameterValue, 'Cut a torn tail, after saying what the cut loses')
            [CompletionResult]::new('replay', 'replay', [CompletionResultType]::ParameterValue, 'Apply the committed changes of a log to a target file')
            [CompletionResult]::new('load', 'load', [CompletionResultType]::ParameterValue, 'Build a native log from the lines of `dump --json`')
            [CompletionResult]::new('copy', 'copy', [CompletionResultType]::ParameterValue, 'Take a copy of a log, also while it is written')
            [CompletionResult]::new('formats', 'formats', [CompletionResultType]::ParameterValue, 'List the formats that are understood')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print a completion script for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print the manual page')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'waltool;dump' {
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Take LOG for this format, whatever it looks like')
            [CompletionResult]::new('--from', '--from', [CompletionResultType]::ParameterName, 'Begin at this position of the format, or at the byte @OFFSET')
            [CompletionResult]::new('--to', '--to', [CompletionResultType]::ParameterName, 'End with this position, or with the byte @OFFSET')
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Only transactions committed at this time or later; UTC unless it says otherwise')
            [CompletionResult]::new('--until', '--until', [CompletionResultType]::ParameterName, 'Only transactions committed at this time or before')
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'Only records of this kind; may be given several times')
            [CompletionResult]::new('--limit', '--limit', [CompletionResultType]::ParameterName, 'At most so many records')
            [CompletionResult]::new('--tail', '--tail', [CompletionResultType]::ParameterName, 'Only the last N of the records that the other options select')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON object a line, payloads in hexadecimal')
            [CompletionResult]::new('--hex', '--hex', [CompletionResultType]::ParameterName, 'Show each payload as a panel of hexadecimal and characters')
            [CompletionResult]::new('--raw', '--raw', [CompletionResultType]::ParameterName, 'Payloads only, byte for byte')
            [CompletionResult]::new('--no-payload', '--no-payload', [CompletionResultType]::ParameterName, 'Leave the payload out of `--json`')
            [CompletionResult]::new('--spans', '--spans', [CompletionResultType]::ParameterName, 'Every byte of the log: fill, stale and unwritten bytes too')
            [CompletionResult]::new('--strict', '--strict', [CompletionResultType]::ParameterName, 'Exit with the code of the verdict')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'waltool;verify' {
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Take LOG for this format, whatever it looks like')
            [CompletionResult]::new('-j', '-j', [CompletionResultType]::ParameterName, 'Use so many threads [default: one per processor]')
            [CompletionResult]::new('--jobs', '--jobs', [CompletionResultType]::ParameterName, 'Use so many threads [default: one per processor]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON object a log')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print nothing about clean logs')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print nothing about clean logs')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'waltool;repair' {
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Take LOG for this format, whatever it looks like')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write the result as NEW and leave the log as it is')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write the result as NEW and leave the log as it is')
            [CompletionResult]::new('--quarantine-dir', '--quarantine-dir', [CompletionResultType]::ParameterName, 'Keep what is taken out in DIR instead of beside the log')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Only show what would be done; exit 0 if it could be')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Only show what would be done; exit 0 if it could be')
            [CompletionResult]::new('-y', '-y', [CompletionResultType]::ParameterName, 'Do not ask')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Do not ask')
            [CompletionResult]::new('--cut-at-damage', '--cut-at-damage', [CompletionResultType]::ParameterName, 'Cut at the first damage, whatever stands behind it')
            [CompletionResult]::new('--accept-loss', '--accept-loss', [CompletionResultType]::ParameterName, 'Accept that --cut-at-damage loses acknowledged data')
            [CompletionResult]::new('--salvage', '--salvage', [CompletionResultType]::ParameterName, 'Write a new log of all whole transactions, those behind the damage too')
            [CompletionResult]::new('--fix-bit', '--fix-bit', [CompletionResultType]::ParameterName, 'Flip back the single bits that explain failed checks; cut nothing')
            [CompletionResult]::new('--undo', '--undo', [CompletionResultType]::ParameterName, 'Put back what earlier repairs took out')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON object')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'waltool;replay' {
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Take LOG for this format, whatever it looks like')
            [CompletionResult]::new('--onto', '--onto', [CompletionResultType]::ParameterName, 'The file that the log''s changes belong to')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Write the result as NEW and leave TARGET as it is')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Write the result as NEW and leave TARGET as it is')
            [CompletionResult]::new('--until', '--until', [CompletionResultType]::ParameterName, 'Stop at the last commit that is not behind this position, @offset or time')
            [CompletionResult]::new('--max-target-size', '--max-target-size', [CompletionResultType]::ParameterName, 'Refuse to make TARGET longer than this')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set')
            [CompletionResult]::new('--in-place', '--in-place', [CompletionResultType]::ParameterName, 'Change TARGET itself, without a copy; after an interruption, run it again')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Only show what would change')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Only show what would change')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON object')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'waltool;load' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'The log to write, a directory that does not exist')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'The log to write, a directory that does not exist')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON object')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'waltool;copy' {
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'Take LOG for this format, whatever it looks like')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON object')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'waltool;formats' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'One JSON object a format')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'waltool;completions' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'waltool;man' {
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; `auto` is on a terminal, unless NO_COLOR is set')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'waltool;help' {
            [CompletionResult]::new('dump', 'dump', [CompletionResultType]::ParameterValue, 'Print every record of a log')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Check every byte of a log and give a verdict with its evidence')
            [CompletionResult]::new('repair', 'repair', [CompletionResultType]::ParameterValue, 'Cut a torn tail, after saying what the cut loses')
            [CompletionResult]::new('replay', 'replay', [CompletionResultType]::ParameterValue, 'Apply the committed changes of a log to a target file')
            [CompletionResult]::new('load', 'load', [CompletionResultType]::ParameterValue, 'Build a native log from the lines of `dump --json`')
            [CompletionResult]::new('copy', 'copy', [CompletionResultType]::ParameterValue, 'Take a copy of a log, also while it is written')
            [CompletionResult]::new('formats', 'formats', [CompletionResultType]::ParameterValue, 'List the formats that are understood')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print a completion script for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print the manual page')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'waltool;help;dump' {
            break
        }
        'waltool;help;verify' {
            break
        }
        'waltool;help;repair' {
            break
        }
        'waltool;help;replay' {
            break
        }
        'waltool;help;load' {
            break
        }
        'waltool;help;copy' {
            break
        }
        'waltool;help;formats' {
            break
        }
        'waltool;help;completions' {
            break
        }
        'waltool;help;man' {
            break
        }
        'waltool;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}

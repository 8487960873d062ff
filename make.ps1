# .\make.ps1 run | test | test-clients | check | bench: what the Makefile does, on Windows. Further words go to the task.
param([Parameter(Position = 0)][string]$Task = "run", [Parameter(ValueFromRemainingArguments = $true)][string[]]$Rest = @())
foreach ($candidate in "py -3.13", "py -3.12", "py -3.11", "py -3", "python", "python3") {
    $name, [string[]]$flags = $candidate.Split(" ")
    if (-not (Get-Command $name -ErrorAction SilentlyContinue)) { continue }
    & $name @flags -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>$null
    if ($LASTEXITCODE -eq 0) {
        & $name @flags "$PSScriptRoot\.ci\tasks.py" $Task @Rest
        exit $LASTEXITCODE
    }
}
[Console]::Error.WriteLine("npuproxy needs Python 3.11 or newer, and found none; install it from python.org")
exit 1

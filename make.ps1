# .\make.ps1 run | test | check | bench: what the Makefile does, on Windows.
param([Parameter(Position = 0)][string]$Task = "run", [Parameter(ValueFromRemainingArguments = $true)]$Rest)
$test = "import sys; sys.exit(sys.version_info < (3, 11))"
$candidates = @(@("py", "-3.13"), @("py", "-3.12"), @("py", "-3.11"), @("py", "-3"), @("python"), @("python3"))
foreach ($candidate in $candidates) {
    $name, $flags = $candidate
    if (-not (Get-Command $name -ErrorAction SilentlyContinue)) { continue }
    & $name @flags -c $test 2>$null
    if ($LASTEXITCODE -eq 0) {
        & $name @flags "$PSScriptRoot\.ci\tasks.py" $Task @Rest
        exit $LASTEXITCODE
    }
}
[Console]::Error.WriteLine("npuproxy needs Python 3.11 or newer, and found none; install it from python.org")
exit 1

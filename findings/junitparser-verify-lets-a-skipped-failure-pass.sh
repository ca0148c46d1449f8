#!/usr/bin/env bash
# Guess: `junitparser verify` refuses a report in which a case has failed.
# Behaviour: a case that carries both <failure> and <skipped> is fine, exit 0; only a case with <failure> alone is refused.
#   A tool that marks a waived failure by adding <skipped> beside it is read as a pass by one reader and as a failure by
#   those that count <failure>.
# Versions: junitparser 5.0.3, Python 3.11.
# Seen: "failure: exit 1", "failure and skipped: exit 0"
# Why it costs: two gates over one report disagree; a waiver must remove the failure, not stand beside it.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q junitparser==5.0.3
one() { printf '<testsuites><testsuite name="s" tests="1" failures="1"><testcase name="c">%s</testcase></testsuite></testsuites>' "$1" > "$work/$2.xml"; }
one '<failure message="no"/>' failed; one '<failure message="no"/><skipped/>' both
code() { "$work/venv/bin/junitparser" verify "$work/$1.xml" >/dev/null 2>&1 && echo 0 || echo $?; }
failed=$(code failed); both=$(code both)
echo "failure: exit $failed"; echo "failure and skipped: exit $both"
[ "$failed" = 1 ] && [ "$both" = 0 ]

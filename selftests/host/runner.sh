# SPDX-License-Identifier: GPL-2.0-only
# timeout: 240
#
# The runner keeps its promises: what goes in and out, and each exit status.
. "$(dirname "$0")/lib/tap.sh"

plan 14

# expect STATUS NAME COMMAND...: the exit status is as said.
status_is()
{
	local want=$1 name=$2 s

	shift 2
	"$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	s=$?
	[ $s = "$want" ] || { note_files; echo "# status $s"; }
	check "$name" [ $s = "$want" ]
}

fast="$NESTED --no-module"
status_is 255 "the command's status passes" $fast -- sh -c 'exit 255'
status_is 137 "a signal's number passes" $fast -- sh -c 'kill -9 $$'
status_is 127 "a command that is not there" $fast -- no-such-command
status_is 126 "wrong usage" "$NESTED" --no-such-option -- true
status_is 126 "no command" "$NESTED"
status_is 124 "time-out" $fast --timeout 4 -- sleep 1000

for line in "BUG: made up" "WARNING: CPU: 0 PID: 1 at made/up.c:1 up+0x1/0x2" \
	    "INFO: task sh:1 blocked for more than 120 seconds."; do
	status_is 125 "the log says ${line%% *}" \
		$fast -- sh -c "echo '<3>$line' >/dev/kmsg"
done
check "and the log is printed" grep -q 'blocked for more' "$tmp/err"
status_is 125 "a host that crashes" \
	$fast --timeout 30 -- sh -c 'echo c >/proc/sysrq-trigger; sleep 30'

head -c 50000 /dev/urandom >"$tmp/in"
$fast -- cat <"$tmp/in" >"$tmp/out" 2>"$tmp/err"
check "input and output pass unchanged, to the end" cmp "$tmp/in" "$tmp/out"

mkdir "$tmp/tree"
echo one >"$tmp/tree/a b"
$fast --add "$tmp/tree" --add "$tmp/in:/etc/other" -- \
	sh -c 'cat "/add/tree/a b"; wc -c </etc/other' >"$tmp/out" 2>"$tmp/err" \
	</dev/null
check "files and trees are added" \
	[ "$(xargs <"$tmp/out")" = "one 50000" ]

$fast --deterministic -- cat /proc/uptime >"$tmp/1" 2>"$tmp/err" </dev/null &
$fast --deterministic -- cat /proc/uptime >"$tmp/2" 2>"$tmp/err" </dev/null
wait $!
check "two at once, and deterministic ones are alike" \
	sh -c "[ -s '$tmp/1' ] && cmp '$tmp/1' '$tmp/2'"

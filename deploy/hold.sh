#!/bin/sh
# Runs a command as a service. Exit code 2 is bad input, which is the same at every restart: then it says so and waits to
# be corrected and restarted, instead of being restarted without end. Any other exit code is passed on.
child=
asked=
trap 'asked=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT
"$@" &
child=$!
[ -z "$asked" ] || kill -TERM "$child" 2>/dev/null
wait "$child"
code=$?
# a signal interrupts the wait, not the command
while kill -0 "$child" 2>/dev/null; do
  wait "$child"
  code=$?
done
if [ "$code" -ne 2 ] || [ -n "$asked" ]; then
  exit "$code"
fi
pause=
trap '[ -z "$pause" ] || kill "$pause" 2>/dev/null; exit 2' TERM INT
# asked between the look at it and the line above
[ -z "$asked" ] || exit 2
echo "hold: bad input (see above): correct it, then docker compose up -d --force-recreate, or restart the service" >&2
while :; do
  sleep 3600 &
  pause=$!
  wait "$pause"
done

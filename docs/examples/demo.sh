#!/bin/sh
# Three questions to a node of its own on free ports, in a home of its own that is removed afterwards.
set -eu
bin=$(dirname "$0")/../../.venv/bin
HEARTHNET_HOME=$(mktemp -d)
export HEARTHNET_HOME HEARTHNET_UI_PORT=0 HEARTHNET_TRANSPORT_PORT=0
"$bin/hearthnet" run >"$HEARTHNET_HOME/out" 2>&1 &
node=$!
trap 'kill $node; wait $node; rm -rf "$HEARTHNET_HOME"' EXIT
until "$bin/hearthnet" status >/dev/null 2>&1; do
  kill -0 $node || { cat "$HEARTHNET_HOME/out"; exit 1; }
  sleep 0.2
done
for question in "Is it safe to run a petrol generator in the cellar?" "Wie lange muss ich Wasser abkochen?" "Who won the election?"; do
  printf '\n> %s\n' "$question"
  "$bin/hearthnet" ask "$question"
done

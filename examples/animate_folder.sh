#!/usr/bin/env bash
# Animate every photo of a folder with every driving video of another; see usage below.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: animate_folder.sh PHOTOS DRIVERS OUTPUT [OPTION...]

Animate every photo in the folder PHOTOS with every driver in the folder DRIVERS
and write OUTPUT/PHOTO_DRIVER.mp4, and OUTPUT/report.jsonl with a line of JSON for
each. Results that are there are left as they are, so that an interrupted run can be
taken up again. A failure does not stop the others, and weights are loaded once.
OPTIONs are handed to "faceanim batch", such as --workers 2, --size 256 or --dry-run.

Exit code: 0 all done, 1 some failed, 2 wrong usage, 130 interrupted.
TEXT
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  usage
  exit 0
elif (($# < 3)); then
  usage >&2
  exit 2
fi
photos=$1 drivers=$2 output=$3
shift 3 # what is left goes to faceanim

faceanim batch "$photos" "$drivers" --output "$output" --name '{photo}_{driver}.mp4' \
  --resume --report "$output/report.jsonl" "$@"

# Afterwards: what failed, and why. jq picks from the report's lines.
#   jq -r 'select(.status == "failed") | [.photo, .driver, .error] | @tsv' results/report.jsonl

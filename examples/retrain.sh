#!/usr/bin/env bash
# From a folder of videos to networks of one's own, and a first clip made by them; see usage below.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: retrain.sh VIDEOS OUTPUT [OPTION...]

Cut the faces out of the videos in VIDEOS (one folder for each person, or VoxCeleb's
layout), train on them, and animate the example portrait with the best weights:
OUTPUT/data, OUTPUT/run and OUTPUT/portrait.mp4. What was interrupted goes on where it
was. OPTIONs are handed to "faceanim train", such as --init animation --max-minutes 60.

Exit code: 0 done, 2 wrong usage, 130 interrupted, and those of faceanim.
TEXT
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  usage
  exit 0
elif (($# < 2)); then
  usage >&2
  exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
videos=$1 output=$2
shift 2 # what is left goes to faceanim train

# Code 1: some videos are of no use, or the data could be better; both have been told, and the rest will do.
anyway() {
  local code=0
  "$@" || code=$?
  ((code == 1)) || return "$code"
}

anyway faceanim prepare "$videos" --output "$output/data"
anyway faceanim prepare --check "$output/data"
weights=$(faceanim train --data "$output/data" --out "$output/run" "$@")
faceanim animate "$here/portrait.jpg" "$here/driver.mp4" --weights "$weights" --output "$output/portrait.mp4"

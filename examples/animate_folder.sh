#!/usr/bin/env bash
# Animate every photo of a folder with every driving video of another; see usage below.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: animate_folder.sh PHOTOS DRIVERS OUTPUT [OPTION...]

Animate every photo in the folder PHOTOS with every video in the folder DRIVERS
and write OUTPUT/PHOTO_DRIVER.mp4. Outputs that exist are skipped, so that an
interrupted run can be taken up again. A failure does not stop the others.
OPTIONs are handed to "faceanim animate" as they are.

Exit code: 0 all done, 1 some failed, 2 wrong usage, 130 interrupted.
TEXT
}

complain() {
  printf 'animate_folder.sh: %s\n' "$1" >&2
}

if [[ "${1:-}" == "-h" || "${1:-}" == "--help" ]]; then
  usage
  exit 0
fi
if (($# < 3)); then
  usage >&2
  exit 2
fi
photo_folder=$1 driver_folder=$2 output_folder=$3
shift 3 # what is left goes to faceanim

for folder in "$photo_folder" "$driver_folder"; do
  if [[ ! -d $folder ]]; then
    complain "$folder: no such folder"
    exit 2
  fi
done
if ! command -v faceanim >/dev/null; then
  complain "faceanim is not on the PATH; install it or activate its environment"
  exit 2
fi

shopt -s nullglob nocaseglob
photos=("$photo_folder"/*.{jpg,jpeg,png,webp,tif,tiff,bmp})
drivers=("$driver_folder"/*.{mp4,m4v,mov,mkv,webm,avi})
shopt -u nullglob nocaseglob
if ((${#photos[@]} == 0)); then
  complain "$photo_folder: no photos"
  exit 2
fi
if ((${#drivers[@]} == 0)); then
  complain "$driver_folder: no videos"
  exit 2
fi
mkdir -p -- "$output_folder"

done_count=0 skipped=0 failed=0
planned=/ # names of this run, between slashes
for photo in "${photos[@]}"; do
  for driver in "${drivers[@]}"; do
    photo_name=${photo##*/} driver_name=${driver##*/}
    name="${photo_name%.*}_${driver_name%.*}.mp4"
    output="$output_folder/$name"
    if [[ $planned == *"/$name/"* ]]; then
      complain "$photo, $driver: another pair is written to $output; rename one"
      failed=$((failed + 1))
      continue
    fi
    planned+="$name/"
    if [[ -e $output ]]; then
      skipped=$((skipped + 1))
      continue
    fi
    code=0
    faceanim animate "$photo" "$driver" -o "$output" "$@" </dev/null || code=$?
    if ((code == 130)); then
      complain "interrupted"
      exit 130
    elif ((code != 0)); then
      complain "$photo, $driver: failed with code $code"
      failed=$((failed + 1))
    else
      done_count=$((done_count + 1))
    fi
  done
done

printf '%d done, %d skipped, %d failed\n' "$done_count" "$skipped" "$failed"
((failed == 0)) || exit 1

#!/usr/bin/env bash
# Train the codec that ships on one accelerator in about twelve minutes, the start included: the whole of it for what listeners of speech
# hear, then its decoder on refined codes, with a discriminator, and last the pitch filter behind it.
#
#   python recipes/accelerator/pack_sound.py DATA packed                          # before: the recordings, about 40 MB
#   bash recipes/accelerator/codec.sh packed OUT                                  # there; OUT/codec is the result
#   DEVICE=cpu STEPS=10 MINUTES=0.3 BATCH=4 WORKERS=0 PAIRS=2 FILTER_MINUTES=0.1 \
#     bash recipes/accelerator/codec.sh packed OUT   # a try
#
# Whatever happens, OUT keeps the last checkpoint of the first half (first/last.safetensors, with it it goes on where it stopped) and the
# average of the second (listening, every hundred steps).
set -euo pipefail
data=$1 out=$2
device=${DEVICE:-cuda} steps=${STEPS:-6000} minutes=${MINUTES:-4} batch=${BATCH:-32} workers=${WORKERS:-12}
accelerator=$([ "$device" = cuda ] && echo gpu || echo cpu)
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"

python -m vqkit.cli train --config "$here/codec-loudness.yaml" --data.source "$data" --folder "$out/first" \
  --accelerator "$accelerator" --steps "$steps" --data.batch_size "$batch" --data.num_workers "$workers" \
  --start "${START:-vqkit-codec-16khz-6}" --validate_every "$steps" --save_every $(((steps + 9) / 10))

python "$here/codec_listening.py" --start "$out/first/codec" --data "$data" --out "$out/listening" --device "$device" \
  --minutes "$minutes" --batch "$batch" --workers "$workers" --adversarial-share 0.2

pairs=$(mktemp -d)  # large, and of no use afterwards
trap 'rm -rf "$pairs"' EXIT
python "$here/pitch_filter.py" --start "$out/listening" --data "$data" --pairs "$pairs" --out "$out/codec" --device "$device" \
  --batches "${PAIRS:-200}" --minutes "${FILTER_MINUTES:-2}"

#!/bin/sh
# What the image runs: `health` for its health check, anything else is a command of tessera.
set -eu
if [ "${1:-}" = health ]; then
    exec python3 -c '
import os, sys, urllib.request
base = os.environ.get("STREAMLIT_SERVER_BASE_URL_PATH", "").strip("/")
port = os.environ.get("STREAMLIT_SERVER_PORT", "8501")
address = "http://127.0.0.1:" + port + ("/" + base if base else "") + "/_stcore/health"
try:
    with urllib.request.urlopen(address, timeout=8) as answer:
        sys.exit(0 if answer.status == 200 else 1)
except OSError as error:
    sys.exit(f"{address}: {error}")
'
fi
for folder in "$TMPDIR" "$HOME"; do
    if ! mkdir -p "$folder" 2>/dev/null || ! [ -w "$folder" ]; then
        echo "Tessera Studio cannot write into $folder as user $(id -u). Give it a volume at /data that this user may write to:" >&2
        echo "-v tessera:/data makes one; of a folder of yours, first run: chown 1000:1000 FOLDER" >&2
        exit 2
    fi
done
exec tessera "$@"

#!/bin/bash
# Renders uml/*.puml to uml/*.svg with Debian's plantuml. With --check renders elsewhere and fails
# when a committed figure is not what its source gives.
#
# Comments (they hold the date and the machine) are taken out of what is committed. Sizes depend
# on the fonts of the machine, so that --check compares everything but purely numeric attributes.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v plantuml >/dev/null || { echo "uml.sh: install the package plantuml" >&2; exit 1; }

render() { # into the directory $1
    plantuml -tsvg -charset UTF-8 -nbthread auto -o "$1" uml/*.puml
    local svg
    for svg in "$1"/*.svg; do
        perl -0pi -e 's/<!--.*?-->//gs; s/></>\n</g; s/\s*\z/\n/' "$svg"
    done
}

shape() { # a figure without its measures
    perl -pe 's/ [A-Za-z0-9]+="[-0-9., MLCQAZz]*(px)?"//g; s/(width|height):[0-9.]+px;?//g' "$1"
}

case "${1:-}" in
    "") render "$PWD/uml" ;;
    --check)
        fresh=$(mktemp -d)
        trap 'rm -rf "$fresh"' EXIT
        render "$fresh"
        bad=0
        for source in uml/*.puml; do
            name=$(basename "$source" .puml)
            if ! diff <(shape "$fresh/$name.svg") <(shape "uml/$name.svg") >/dev/null; then
                echo "uml.sh: uml/$name.svg is not what $source gives: run scripts/uml.sh" >&2
                bad=1
            fi
        done
        exit "$bad" ;;
    *) echo "usage: scripts/uml.sh [--check]" >&2; exit 2 ;;
esac

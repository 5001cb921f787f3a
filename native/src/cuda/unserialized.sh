#!/bin/sh
# Runs nvcc as the arguments say, and fails where its assembler carries out products of warpgroups one after the other (C7510 to C7515), which it only
# mentions.
said=$("$@" 2>&1)
status=$?
[ -z "$said" ] || printf '%s\n' "$said" >&2
case $said in
    *"(C751"[0-5]")"*) echo "error: products of warpgroups are carried out one after the other; ptxas says above which" >&2; exit 1 ;;
esac
exit $status

# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2207
#
# Completion of vmmctl's command line, for bash.

_vmmctl()
{
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
	local words=

	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		COMPREPLY=($(compgen -W "run info help version --help --version" -- "$word"))
		return
	fi
	case $previous in
	--kernel | --initrd | --module | --flat)
		compopt -o filenames 2>/dev/null
		COMPREPLY=($(compgen -f -- "$word"))
		return ;;
	--loader)
		words="linux pvh multiboot" ;;
	--mode)
		words="real protected long" ;;
	--cpus | --memory | --append | --load | --entry | --debug-exit)
		return ;;
	*)
		case ${COMP_WORDS[1]} in
		run)
			words="--cpus --memory --kernel --loader --initrd --append --module
				--flat --load --entry --mode --debug-exit --test-device
				--huge --stats --help" ;;
		info | version)
			words="--json --help" ;;
		help)
			words="run info help version" ;;
		esac ;;
	esac
	COMPREPLY=($(compgen -W "$words" -- "$word"))
}

complete -F _vmmctl vmmctl

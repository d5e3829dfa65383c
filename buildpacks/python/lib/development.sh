# The plan of bin/detect for development, where live reload is in reach: the same, and what changed files mean.
# With what the shell has built in, but for grep: `read` takes 14 ms for a file with many hashes.

# Requirements name others, and packages that lie in the application: what pip reads is installed anew.
# They name the framework too: one that looks at a template's file again needs no restart (Flask and Quart when they
# debug), others do; WhiteNoise wants one for static files as well.
seen=
named=
templates=reload
static=sync
set -- requirements.txt
while [ $# -gt 0 ]; do
    file=$1
    shift
    case "$seen|" in *"|$file|"*) continue ;; esac
    seen="$seen|$file"
    case $file in */*) place=${file%/*}/ ;; *) place= ;; esac
    told='-[cer]|--[cer]|\./|flask|quart|fastapi|starlette|whitenoise'
    lines=$(LC_ALL=C grep -iE "^[[:space:]]*($told)" "$file" 2>/dev/null) || :
    while read -r word name _; do
        case $word in
        -r | -c | --requirement | --constraint) name=$place${name#./} ;;
        --requirement=* | --constraint=*) name=$place${word#*=} ;;
        -[rc]?*) name=$place${word#-?} ;;
        -e | --editable) name=${name#./} ;;
        ./?*) name=${word#./} ;;
        [Ww]hite*) static=reload && continue ;;
        [FfQqSs]*) templates=sync && continue ;;
        *) continue ;;
        esac
        name=${name%%[[]*}
        name=${name%[!A-Za-z0-9._/-]} # the CR of a file from Windows
        case $name in '' | /* | *..* | *//* | *[!A-Za-z0-9._/-]*) continue ;; esac
        case $word in
        -e | --editable) # used where it is, but for what says how it is installed
            named="$named, \"${name%/}/pyproject.toml\", \"${name%/}/setup.*\"" ;;
        ./*) named="$named, \"${name%/}/**\"" ;;
        *)
            named="$named, \"$name\""
            set -- "$@" "$name"
            ;;
        esac
    done <<END
$lines
END
done
if [ -f manage.py ]; then # Django
    templates=reload
fi

printf '%s\n' '[[provides]]
name = "python"

[[requires]]
name = "python"

[[requires]]
name = "live-reload"

[requires.metadata]
buildpack = "packrunner/python"
version = "0.1.0"

[[requires.metadata.rules]]
src = ["**/__pycache__/**", "**/*.pyc", "**/.*_cache/**", "**/.venv/**", "venv/**"]
action = "ignore"
why = "made by Python and its tools"

[[requires.metadata.rules]]
src = ["*requirements*.txt", "requirements/**", "constraints*.txt"'"$named"']
action = "rebuild"
why = "packages"

[[requires.metadata.rules]]
src = [".python-version", "runtime.txt", "Procfile", "pyproject.toml", "uv.lock", "pylock.toml", "poetry.lock",
    "pdm.lock", "Pipfile", "Pipfile.lock", "setup.py"]
action = "rebuild"
why = "decides how the image is built"

[[requires.metadata.rules]]
src = ["**/*.py"]
action = "reload"

[[requires.metadata.rules]]
src = ["**/templates/**", "**/*.html", "**/*.jinja", "**/*.jinja2", "**/*.j2"]
action = "'$templates'"
why = "templates"

[[requires.metadata.rules]]
src = ["**/static/**", "**/*.css", "**/*.js", "**/*.mjs", "**/*.svg"]
action = "'$static'"
why = "read when they are asked for"

[[requires.metadata.rules]]
src = ["**"]
action = "restart"
why = "may be read when the application starts"

[[or]]
[[or.provides]]
name = "python"

[[or.requires]]
name = "python"' >"$CNB_BUILD_PLAN_PATH"

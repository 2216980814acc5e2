# A browser without a window looks at the reports; where this ran, a skipped test is an error.
command -v chromium >/dev/null || {
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium
}
export RULERLAB_REQUIRE_BROWSER=1

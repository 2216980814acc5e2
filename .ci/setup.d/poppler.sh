# pdftoppm renders the printed targets, so that the tests can measure them.
command -v pdftoppm >/dev/null || {
    apt-get update -qq && apt-get install -y -qq --no-install-recommends poppler-utils
}

# A real Slurm of one node shares a phase diagram among jobs; where this ran, a skipped test is an error.
command -v sbatch >/dev/null && command -v munged >/dev/null || {
    apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge
}
export RULERLAB_REQUIRE_SLURM=1

# What is a matter of luck, for as long as one likes: PROOF=30s, 10m or 8h, and as long as it takes to
# build. PROOF_SEED repeats what was found.

PROOF ?= 10m
PROOF_SEED ?=
PROOF_STRESS := stress_names stress_limits stress_refused_threads stress_cancel stress_fork \
    stress_forks_unseen stress_restarts $(filter test_no_memory,$(C_TESTS))

proof: export CARGO := $(CARGO)
proof: export JOBS := $(JOBS)
proof: export PROOF_STRESS := $(PROOF_STRESS)
proof: requirements misuse-asan $(addprefix target/c/,soak stress_many_servers $(PROOF_STRESS)) ## histories, failures, misuse, a soak and the model, for PROOF=10m
	tests/proof/run.sh $(PROOF) $(PROOF_SEED)

# Short names for what is done often. Each line can be typed without `just`.

# What there is.
default:
    @just --list

# All tests.
test:
    cargo test --workspace

# Everything that must hold before a change lands; `just ci lint tests` runs only these steps.
ci *steps:
    .ci/run {{steps}}

# Two databases, edited apart, brought together.
demo:
    cargo run --release -p driftless-cli -- demo

# The benches; their numbers hold for this machine and this run only.
bench *arguments:
    cargo run --release -p driftless-bench -- {{arguments}}

# The property tests with cases that nobody has seen, so many rounds; stops at the first that fails.
properties rounds="10":
    for round in $(seq {{rounds}}); do PROPTEST_RNG_SEED=$(date +%s%N) cargo test --workspace || exit 1; done

# Several databases and somebody hostile, one run per seed, until one fails: `just sim` for ever, `just sim 1000` so many.
sim seeds="":
    cargo run --release -p driftless-sim -- {{ if seeds == "" { "--forever" } else { "--seeds " + seeds } }}

# Every fuzz target for so many seconds; stops at the first finding and says where its input lies.
fuzz seconds="60" *targets:
    fuzz/run {{seconds}} {{targets}}

# What each input that was made to hurt costs: time and heap, in memory and for a database of 100,000 commits.
hostile folder="target/hostile":
    cargo run --release -p driftless-fuzz-targets -- hostile {{folder}}

# The JavaScript client: its types, whether its dist/ is up to date, and its tests (needs node and npm).
client:
    test -d clients/js/node_modules || npm ci --prefix clients/js --no-audit --no-fund
    cargo build -p driftless-cli
    cd clients/js && npm run --silent check && npm test --silent

# A million random rows over 500 random schemas, 200 killed processes, the whole truth table in real files, and 200 exchanges
# with a mailbox that are killed.
rows:
    DRIFTLESS_ROWS=full cargo test --config profile.dev.opt-level=2 -p driftless-rows -- --nocapture
    DRIFTLESS_ROWS=full cargo test -p driftless-cli --test cli uploads -- --nocapture

# A served database under 1,500 half-open connections and 300 peers that read nothing, and 10,000 forks of one number.
hub:
    DRIFTLESS_HUB=full cargo test --release -p driftless-cli --test hub -- --nocapture
    DRIFTLESS_FORKS=10000 cargo test --release -p driftless --test byzantine thousand -- --nocapture

# Finding peers on the local network, by real multicast: within this machine, then whoever else is there.
lan:
    cargo test -p driftless-net --features iroh --test net local_network
    cargo test -p driftless-cli --test cli lan::
    cargo run -p driftless-cli -- peers --lan --timeout 5s

# Crashes, broken disks and damaged files at every place, optimised but with the checks of a debug build.
crash:
    DRIFTLESS_CRASH=full cargo test --config profile.dev.opt-level=2 -p driftless --test crash -- --nocapture --test-threads 2

# The inspector and the page with notes, in a real browser (needs node and chromium).
browser: browser-packages
    cargo build -p driftless-cli
    cd tests/browser && node --test --test-concurrency=1 ./*.test.mjs

# The pictures of docs/guide, taken anew.
pictures: browser-packages
    cargo build -p driftless-cli
    node tests/browser/pictures.mjs

[private]
browser-packages:
    test -d tests/browser/node_modules || npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund

# The documentation of all crates, in the browser.
doc:
    cargo doc --workspace --no-deps --open

# Writes the golden vectors anew, after a change of the format that was meant.
vectors:
    DRIFTLESS_WRITE_VECTORS=1 cargo test -p driftless-core --test vectors

# The rules of the house: layers, names, pages, purity, licences.
tidy:
    cargo test -p xtask

# Format, then lint as strictly as CI does.
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings

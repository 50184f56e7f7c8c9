// Runs the tests. Node has its own WebSocket from 22 on; before, from 20.10, behind a flag.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
const files = readdirSync(here).filter((file) => file.endsWith(".test.mjs")).map((file) => join(here, file));
const flags = typeof WebSocket === "undefined" ? ["--experimental-websocket"] : [];
const run = spawnSync(process.execPath, [...flags, "--test", "--test-timeout=30000", ...files], { stdio: "inherit" });
process.exitCode = run.status ?? 1;

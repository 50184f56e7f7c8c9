// A database in a temporary folder, and `driftless serve --ui` on it.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BINARY = process.env.DRIFTLESS_BIN ?? fileURLToPath(new URL("../../../target/debug/driftless", import.meta.url));

export class Served {
  #process;

  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), "driftless-client-"));
    this.run("init", "--name", "ann");
    this.run("space", "create", "home");
  }

  /** Runs a command; through `serve`, if it runs. */
  run(...words) {
    const out = execFileSync(BINARY, ["--dir", this.dir, "--json", ...words], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    return out.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  }

  /** Serves, at the same place with the same token each time. */
  async start() {
    const token = join(this.dir, "token");
    const words = ["--dir", this.dir, "--json", "serve", "--http", "127.0.0.1:0", "--ui", `127.0.0.1:${this.port ?? 0}`, "--ui-token-file", token];
    this.#process = spawn(BINARY, words, { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = await once(createInterface({ input: this.#process.stdout }), "line");
    this.url = JSON.parse(line).ui;
    this.port = Number(new URL(this.url).port);
    return this.url;
  }

  async stop(signal = "SIGTERM") {
    if (this.#process === undefined) return;
    const ended = once(this.#process, "exit");
    this.#process.kill(signal);
    await ended;
    this.#process = undefined;
  }

  async remove() {
    await this.stop();
    rmSync(this.dir, { recursive: true });
  }
}

/** Settles when `fits` is true after one of the calls of what it gives. */
export function until() {
  let check = () => {};
  const told = [];
  return {
    told,
    tell: (event) => {
      told.push(event);
      check();
    },
    hear: (fits) =>
      new Promise((done) => {
        check = () => {
          if (fits(told)) done(told);
        };
        check();
      }),
  };
}

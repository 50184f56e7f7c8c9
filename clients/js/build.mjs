// Makes dist/: one file for browsers and Node, and the types. With --check it only says whether dist/ is up to date.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";

const here = import.meta.dirname;
const check = process.argv.includes("--check");
const out = check ? mkdtempSync(join(tmpdir(), "driftless-client-")) : join(here, "dist");
try {
  await build({
    absWorkingDir: here,
    entryPoints: ["src/driftless.ts"],
    outfile: join(out, "driftless.js"),
    bundle: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    banner: { js: "// @driftless/client. Made by `npm run build` in clients/js from src/; change that instead." },
  });
  const tsc = join(here, "node_modules", "typescript", "bin", "tsc");
  execFileSync(process.execPath, [tsc, "--emitDeclarationOnly", "--outDir", out], { cwd: here, stdio: "inherit" });
  if (check) {
    const dist = join(here, "dist");
    const stale = readdirSync(out).filter((file) => read(join(out, file)) !== read(join(dist, file)));
    const extra = readdirSync(dist).filter((file) => !readdirSync(out).includes(file));
    if (stale.length + extra.length > 0) {
      console.error(`dist/ is not up to date (${[...stale, ...extra].join(", ")}); run: npm run build`);
      process.exitCode = 1;
    }
  }
} finally {
  if (check) rmSync(out, { recursive: true });
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

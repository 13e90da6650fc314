// Runs engines in turn: every round runs each engine once, so that whatever else the machine does falls on all of them
// alike. What a benchmark measures, and beside whom, is in bench.js and crf.js.
//
// An engine is a child process that lives for the whole run. Ready, it prints a line of JSON, {"firstMs", ...}; for each
// line on its stdin it runs once and prints {"ms", ...}; when stdin ends, it ends.

const { spawn } = require('node:child_process');
const { openSync, readFileSync } = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const { setTimeout: sleep } = require('node:timers/promises');

/** Starts an engine and waits until it is ready. */
async function start({ name, command, args, env }, scratch) {
  const log = path.join(scratch, `${name.replaceAll(/[^\w.]+/g, '-')}.log`);
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', openSync(log, 'w')],
    env: { ...process.env, ...env },
  });
  child.on('error', () => {}); // a command that is not there, too, is reported by `answer`
  child.stdin.on('error', () => {}); // an engine that died is reported by `answer`
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${name} (${command}) ended early:\n${readFileSync(log, 'utf8').slice(-2000)}`);
    return JSON.parse(value);
  };
  return { child, answer, ready: await answer() };
}

async function measure({ child, answer }) {
  await sleep(100); // threads of the engine before may still spin for some milliseconds
  child.stdin.write('go\n');
  return await answer();
}

/** Largest resident memory that the process has had, in MB. */
function peakMegabytes(pid) {
  const [, kilobytes] = /^VmHWM:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return (Number(kilobytes) * 1024) / 1e6;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/**
 * Starts `engines` ({ name, command, args, env }) one after the other and lets them run in turn.
 *
 * For each: the engine, what it said when it was ready, what it said of each run, its peak of memory. Logs go to `scratch`.
 */
async function race(engines, { rounds, scratch }) {
  const running = [];
  try {
    for (const engine of engines) {
      console.error(`starting ${engine.name}`);
      running.push({ engine, runs: [], ...(await start(engine, scratch)) });
    }
    for (let round = 1; round <= rounds; round++) {
      console.error(`round ${round} of ${rounds}`);
      for (const each of running) each.runs.push(await measure(each));
    }
    return running.map(({ engine, child, ready, runs }) => ({ engine, ready, runs, peakMb: peakMegabytes(child.pid) }));
  } finally {
    for (const { child } of running) child.stdin.end();
  }
}

module.exports = { median, race };

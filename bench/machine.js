// What a benchmark ran on: a table without it says nothing.

const { readFileSync } = require('node:fs');
const os = require('node:os');
const { doctor } = require('../dist');

/** The machine, how busy it is, and the versions of this package, of what it stands on and, in `others`, of its rivals. */
async function describeMachine(others) {
  const { cpu, onednn, version } = await doctor();
  const special = cpu.features.filter((feature) => /amx|avx512_bf16/.test(feature));
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? cpu.name;
  return {
    cpu: model,
    cores: os.availableParallelism(),
    features: special,
    load: os.loadavg()[0],
    versions: { deeplab: version, onednn: onednn.version, node: process.version, ...others },
  };
}

/** Two lines. */
function machineText({ cpu, cores, features, versions }) {
  const names = Object.keys(versions).map((name) => `${name} ${versions[name]}`);
  return `${cpu}, ${cores} cores, ${features.join(' ') || 'neither AMX nor AVX512-BF16'}\n${names.join(', ')}`;
}

module.exports = { describeMachine, machineText };

// How much memory a process keeps that it should not.

const mebibytes = () => process.memoryUsage.rss() / 2 ** 20;

/** Runs `call` `count` times; returns by how many MiB the process grew after the first tenth. */
export async function growth(count: number, call: (i: number) => Promise<unknown>): Promise<number> {
  let before = 0;
  for (let i = 0; i < count; i++) {
    if (i === count / 10) before = mebibytes();
    await call(i);
  }
  return mebibytes() - before;
}

// Waiting for what other threads do.

/** Resolves once `holds()`. A test that waits for what never comes ends by its time limit. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
}

// The model's own process: main.ts starts it by utilityProcess.fork. A crash here, or a decoder that meets a hostile
// image, costs this process and not the app.

import { DeepLab } from 'deeplab';
import { parentPort } from './port';
import type { Command, Report } from './protocol';
import { describeError, Service } from './service';

const parent = parentPort();
const report = (message: Report) => parent.postMessage(message);
let service: Service | undefined;

function load({ model, threads }: Command & { kind: 'load' }): void {
  const loading = DeepLab.load(model, { threads });
  service = new Service(loading);
  service.serve(parent);
  loading.then(
    ({ device, precision }) => report({ kind: 'loaded', device, precision }),
    (error: unknown) => report({ kind: 'failed', ...describeError(error) }),
  );
}

async function close(): Promise<void> {
  await service?.close();
  report({ kind: 'closed' });
  // The port would keep the process alive. Nothing is left that could be lost.
  setImmediate(() => process.exit(0));
}

parent.on('message', ({ data, ports }) => {
  const command = data as Command;
  if (command.kind === 'load') load(command);
  if (command.kind === 'connect') for (const port of ports) service?.serve(port);
  if (command.kind === 'close') void close();
});
parent.on('close', () => process.exit(0));

// The preload script: keeps the window's port to the model, and gives the page two functions. It may import types, but no
// modules but Electron's: it runs in a sandbox.

import { contextBridge, ipcRenderer } from 'electron';
import type { Bridge, portChannel, Reply, Request } from './protocol';

const channel: typeof portChannel = 'deeplab:port';
const waiting = new Map<number, (reply: Reply) => void>();
let connect: (port: MessagePort) => void = () => {};
let port = new Promise<MessagePort>((resolve) => {
  connect = resolve;
});

function settle(reply: Reply): void {
  waiting.get(reply.id)?.(reply);
  waiting.delete(reply.id);
}

ipcRenderer.on(channel, ({ ports: [received] }) => {
  if (received === undefined) return;
  received.onmessage = ({ data }: MessageEvent<Reply>) => settle(data);
  // Electron's addition to the standard: the model's process is gone.
  received.addEventListener('close', () => {
    const message = "The model's process has ended";
    for (const id of [...waiting.keys()]) settle({ kind: 'error', id, code: 'ERR_CLOSED', message });
  });
  connect(received);
  port = Promise.resolve(received);
});

async function send(request: Request): Promise<void> {
  // No list of what to transfer: see docs/electron.md.
  (await port).postMessage(request);
}

const bridge: Bridge = {
  segment: (id, image, crf) =>
    new Promise((resolve) => {
      waiting.set(id, resolve);
      void send({ kind: 'segment', id, image, crf });
    }),
  cancel: (id) => void send({ kind: 'cancel', id }),
};

contextBridge.exposeInMainWorld('deeplab', bridge);

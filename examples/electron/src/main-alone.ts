// The same app without a process for the model: the main process holds it. Inference runs on threads of its own and does
// not block the app; but what crashes crashes the app, and images pass through the main process. `electron
// build/main-alone.js` starts it.

import path from 'node:path';
import { DeepLab } from 'deeplab';
import { app, BrowserWindow, MessageChannelMain } from 'electron';
import { portChannel } from './protocol';
import { Service } from './service';

const weights = process.env.DEEPLAB_MODEL ?? path.join(process.resourcesPath, 'model.safetensors');
let service: Service | undefined;

async function open(): Promise<void> {
  const model = new Service(DeepLab.load(weights));
  service = model;
  const window = new BrowserWindow({
    width: 900,
    height: 700,
    webPreferences: { preload: path.join(__dirname, 'preload.js'), contextIsolation: true, sandbox: true },
  });
  window.webContents.on('did-finish-load', () => {
    const { port1, port2 } = new MessageChannelMain();
    model.serve(port1);
    window.webContents.postMessage(portChannel, null, [port2]);
  });
  await window.loadFile(path.join(__dirname, '..', 'index.html'));
}

app.whenReady().then(open);
app.on('window-all-closed', () => app.quit());

app.on('will-quit', (event) => {
  if (service === undefined) return;
  event.preventDefault();
  const ending = service;
  service = undefined;
  void ending.close().finally(() => app.quit());
});

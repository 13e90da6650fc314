// The main process: a window, and the model in a process of its own. The variable DEEPLAB_MODEL names a weights file;
// a packaged app has it in its resources.

import path from 'node:path';
import { app, BrowserWindow, dialog } from 'electron';
import { ModelProcess } from './model-process';

const weights = process.env.DEEPLAB_MODEL ?? path.join(process.resourcesPath, 'model.safetensors');
let model: ModelProcess | undefined;

async function open(): Promise<void> {
  const started = new ModelProcess(path.join(__dirname, 'utility.js'), weights);
  model = started;
  void started.ended.then(() => {
    if (model === started) model = undefined;
  });
  const window = new BrowserWindow({
    width: 900,
    height: 700,
    webPreferences: { preload: path.join(__dirname, 'preload.js'), contextIsolation: true, sandbox: true },
  });
  // Anew after each load: a page that is reloaded loses its port.
  window.webContents.on('did-finish-load', () => started.connect(window.webContents));
  await window.loadFile(path.join(__dirname, '..', 'index.html'));
  await started.loaded.catch((error: Error) => dialog.showErrorBox('The model cannot be loaded', error.message));
}

app.whenReady().then(open);
app.on('window-all-closed', () => app.quit());

// The app ends when the model's process has, even in the middle of an inference.
app.on('will-quit', (event) => {
  if (model === undefined) return;
  event.preventDefault();
  const ending = model;
  model = undefined;
  void ending.close().finally(() => app.quit());
});

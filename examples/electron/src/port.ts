// The end of a channel, as Electron has it: MessagePortMain and process.parentPort are ports. Under plain Node a child of
// child_process.fork({ serialization: 'advanced' }) gets one as well, which is how this is tested without Electron.

/** As much of Electron's MessagePortMain and ParentPort as is used here. */
export interface Port {
  postMessage(message: unknown): void;
  on(event: 'message', listener: (event: PortMessage) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
  /** Messages wait until this is called, where there is such a function. */
  start?(): void;
}

export interface PortMessage {
  readonly data: unknown;
  readonly ports: readonly Port[];
}

/** The port to the process that started this one. It is closed when that process is gone; Electron ends this one then. */
export function parentPort(): Port {
  const ofElectron = process.parentPort as Electron.ParentPort | undefined;
  const onMessage = (listener: (event: PortMessage) => void) =>
    ofElectron === undefined
      ? process.on('message', (data: unknown) => listener({ data, ports: [] }))
      : ofElectron.on('message', listener);
  return {
    postMessage: (message) => (ofElectron === undefined ? process.send?.(message) : ofElectron.postMessage(message)),
    on: (event: 'message' | 'close', listener: (event: PortMessage) => void) =>
      event === 'message' ? onMessage(listener) : process.on('disconnect', listener as () => void),
  };
}

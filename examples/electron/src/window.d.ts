// What the preload script adds to the page.

interface Window {
  readonly deeplab: import('./protocol').Bridge;
}

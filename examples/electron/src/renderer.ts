// The page's script: hands the file that was chosen to the model, and draws its classes over it. It is no module: without
// import and export, a page takes it as it is.

{
  type Labels = Extract<import('./protocol').Reply, { kind: 'labels' }>;

  const find = <T extends Element>(selector: string) => document.querySelector(selector) as T;
  const input = find<HTMLInputElement>('#file');
  const refine = find<HTMLInputElement>('#crf');
  const button = find<HTMLButtonElement>('#cancel');
  const status = find<HTMLOutputElement>('#status');
  const legend = find<HTMLUListElement>('#legend');
  const canvas = find<HTMLCanvasElement>('#picture');
  let last = 0;

  const draw = async (file: File, { width, height, labels, classes }: Labels) => {
    const context = canvas.getContext('2d');
    if (context === null) return;
    [canvas.width, canvas.height] = [width, height];
    context.drawImage(await createImageBitmap(file), 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height);
    const colors = new Map(classes.map(({ id, color }) => [id, color]));
    for (const [i, label] of labels.entries()) {
      for (const [channel, value] of (colors.get(label) ?? []).entries()) {
        pixels.data[4 * i + channel] = ((pixels.data[4 * i + channel] ?? 0) + value) / 2;
      }
    }
    context.putImageData(pixels, 0, 0);
    const items = classes.map(({ name, share, color }) => {
      const item = document.createElement('li');
      item.textContent = `${name}: ${(100 * share).toFixed(1)} %`;
      item.style.borderLeft = `1em solid rgb(${color.join(' ')})`;
      return item;
    });
    legend.replaceChildren(...items);
  };

  input.addEventListener('change', async () => {
    const file = input.files?.[0];
    if (file === undefined) return;
    window.deeplab.cancel(last);
    const id = ++last;
    status.value = 'at work';
    const reply = await window.deeplab.segment(id, new Uint8Array(await file.arrayBuffer()), refine.checked);
    if (id !== last) return;
    status.value = reply.kind === 'error' ? `${reply.code}: ${reply.message}` : `${reply.width} x ${reply.height}`;
    if (reply.kind === 'labels') await draw(file, reply);
  });

  button.addEventListener('click', () => window.deeplab.cancel(last));
}

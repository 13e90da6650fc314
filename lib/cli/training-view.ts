// How a training is shown: on a terminal, a bar with the smoothed loss, the learning rate, the speed and the time left; else a
// line now and then.

import { SingleBar } from 'cli-progress';
import type { StepRecord } from '../train';

/** How much of the loss that is shown is the newest one. */
const newest = 0.05;
/** Seconds between two lines where there is no terminal. */
const lineSeconds = 10;

/** Shows steps. */
export class TrainingView {
  readonly #bar: SingleBar | undefined;
  readonly #iterations: number;
  #loss: number | undefined;
  #secondsPerStep: number | undefined;
  #steppedAt: number | undefined;
  #linedAt = Number.NEGATIVE_INFINITY;
  #active = false;

  constructor(iterations: number, terminal: boolean) {
    this.#iterations = iterations;
    if (!terminal) return;
    this.#bar = new SingleBar({
      format: '{bar} {value}/{total}  loss {loss}  rate {rate}  {speed} images/s  {left} left',
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: true,
    });
  }

  /** Counts a step; gives a line to print, where there is no terminal and it is time for one. */
  step({ iteration, loss, learningRate, imagesPerSecond, waitedMs }: StepRecord): string | undefined {
    this.#loss = this.#loss === undefined ? loss : this.#loss + newest * (loss - this.#loss);
    const now = performance.now();
    if (this.#steppedAt !== undefined) {
      const seconds = (now - this.#steppedAt) / 1000;
      const known = this.#secondsPerStep ?? seconds;
      this.#secondsPerStep = known + newest * (seconds - known);
    }
    this.#steppedAt = now;
    const shown = {
      loss: this.#loss.toFixed(4),
      rate: learningRate.toExponential(2),
      speed: imagesPerSecond.toFixed(imagesPerSecond < 10 ? 2 : 1),
      left: this.#secondsPerStep === undefined ? '?' : duration(this.#secondsPerStep * (this.#iterations - iteration)),
    };
    if (this.#bar !== undefined) {
      if (!this.#active) this.#bar.start(this.#iterations, iteration, shown);
      else this.#bar.update(iteration, shown);
      this.#active = true;
      return undefined;
    }
    if (now - this.#linedAt < lineSeconds * 1000 && iteration !== this.#iterations) return undefined;
    this.#linedAt = now;
    const waited = waitedMs >= 1 ? `, waited ${waitedMs.toFixed(0)} ms for data` : '';
    return `iteration ${iteration}/${this.#iterations}: loss ${shown.loss}, rate ${shown.rate}, ${shown.speed} images/s${waited}, ${shown.left} left`;
  }

  /** Makes room for what is no step, whose time does not count: the bar begins anew at the next one. */
  pause(): void {
    this.#steppedAt = undefined;
    this.stop();
  }

  /** Takes the bar away. It would put the cursor back where it began, so nothing may be printed while there is one. */
  stop(): void {
    if (this.#active) this.#bar?.stop();
    this.#active = false;
  }
}

/** Such as 2:05:09. */
function duration(seconds: number): string {
  const whole = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

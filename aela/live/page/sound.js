// Sounds as one sees them: a chip that draws a word and plays it, and the level of the room.

const BARS = 28;
const SVG = "http://www.w3.org/2000/svg";

const HISTORY_S = 12;
const LOWEST_DB = -70;
const MOST_LEVELS = 240; // of the history, whatever the server sends

/**
 * A button that draws a sound and plays it.
 * @param {string} label what it is, for those who cannot see it
 * @param {AudioBuffer} buffer
 * @param {(buffer: AudioBuffer) => {seconds: number, ended: Promise<void>} | null} play
 */
export function chip(label, buffer, play) {
  const button = document.createElement("button");
  button.className = "chip";
  button.type = "button";
  button.setAttribute("aria-label", `Play ${label}`);
  button.append(triangle(), bars(buffer));
  button.addEventListener("click", async () => {
    const playing = play(buffer);
    if (playing) await lightUp(button, playing);
  });
  return button;
}

/** Let bars, or those of an element, light up one after the other while its sound plays. */
export async function lightUp(element, { seconds, ended }) {
  element.style.setProperty("--seconds", `${seconds}s`);
  element.classList.remove("playing");
  element.getBoundingClientRect(); // begin the animation anew
  element.classList.add("playing");
  await ended;
  element.classList.remove("playing");
}

/** The sound as bars; where its padding of silence begins, they end. Without a sound: silence. */
export function bars(buffer = null) {
  const samples = buffer?.getChannelData(0) ?? new Float32Array(BARS);
  let end = samples.length;
  while (end > 1 && Math.abs(samples[end - 1]) < 1e-4) end--;
  const peaks = Array.from({ length: BARS }, (_, i) => {
    let peak = 0;
    for (let j = Math.floor((i * end) / BARS); j < ((i + 1) * end) / BARS; j++) {
      peak = Math.max(peak, Math.abs(samples[j]));
    }
    return peak;
  });
  const loudest = Math.max(...peaks, 1e-4);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${BARS * 4} 32`);
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "bars");
  peaks.forEach((peak, i) => {
    const height = Math.max(2.5, (30 * peak) / loudest);
    const bar = document.createElementNS(SVG, "rect");
    const place = { x: 4 * i + 0.75, y: 16 - height / 2, width: 2.5, height, rx: 1.25 };
    for (const [name, value] of Object.entries(place)) bar.setAttribute(name, value.toFixed(2));
    bar.style.setProperty("--at", i / BARS);
    svg.append(bar);
  });
  return svg;
}

/** The sign for "play". */
export function triangle() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "triangle");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", "M4.5 2.8v10.4a.8.8 0 0 0 1.2.7l8.4-5.2a.8.8 0 0 0 0-1.4L5.7 2.1a.8.8 0 0 0-1.2.7z");
  svg.append(path);
  return svg;
}

/** The last seconds of sound, the noise floor, and where a word is under way. */
export class Level {
  constructor(canvas) {
    this.canvas = canvas;
    this.levels = []; // {at_s, level_db, floor_db, word}, oldest first
    this.told = 0;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  add(level) {
    const last = this.levels.at(-1);
    if (last && level.at_s < last.at_s) this.levels.length = 0; // another tab shows: another clock
    this.levels.push(level);
    while (this.levels[0].at_s < level.at_s - HISTORY_S || this.levels.length > MOST_LEVELS) {
      this.levels.shift();
    }
    if (level.at_s - this.told >= 1 || level.at_s < this.told) {
      this.told = level.at_s;
      const above = Math.round(level.level_db - level.floor_db);
      this.canvas.setAttribute("aria-valuenow", Math.round(level.level_db));
      this.canvas.setAttribute(
        "aria-valuetext",
        `${Math.round(level.level_db)} decibels, ${above} above the noise${level.word ? ", a word" : ""}`
      );
    }
    if (!document.hidden) this.#draw();
  }

  #draw() {
    const { canvas, levels } = this;
    const density = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    if (canvas.width !== Math.round(width * density) || canvas.height !== Math.round(height * density)) {
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
    }
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name).trim();
    const paint = canvas.getContext("2d");
    paint.setTransform(density, 0, 0, density, 0, 0);
    paint.clearRect(0, 0, width, height);
    if (!levels.length) return;

    const newest = levels.at(-1).at_s;
    const x = (atS) => width * (1 - (newest - atS) / HISTORY_S);
    const y = (db) => height * (1 - Math.min(1, Math.max(0.02, (db - LOWEST_DB) / -LOWEST_DB)));
    const step = (width / HISTORY_S) * 0.1;
    for (const { at_s, level_db, word } of levels) {
      paint.fillStyle = colour(word ? "--voice" : "--hush");
      paint.beginPath();
      paint.roundRect(x(at_s) - step, y(level_db), step * 0.7, height - y(level_db), 1.5);
      paint.fill();
    }
    paint.strokeStyle = colour("--faint");
    paint.lineWidth = 1;
    paint.setLineDash([3, 3]);
    paint.beginPath();
    for (const { at_s, floor_db } of levels) paint.lineTo(x(at_s), y(floor_db));
    paint.stroke();
    paint.fillStyle = colour("--faint");
    paint.font = "11px system-ui, sans-serif";
    paint.strokeStyle = colour("--card");
    paint.lineWidth = 4;
    paint.setLineDash([]);
    const label = ["noise floor", Math.max(4, x(levels[0].at_s)), y(levels[0].floor_db) - 5];
    paint.strokeText(...label);
    paint.fillText(...label);
  }
}

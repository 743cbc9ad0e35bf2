// What is kept and left out just now: the film strip of frames, and the words as they are cut.

import { chip } from "./sound.js";

const MOST_FRAMES = 16;
const MOST_CHIPS = 10;
const MOST_REASONS = 8;

const byId = (id) => document.getElementById(id);

export class Kept {
  /**
   * @param {import("./voice.js").Voice} voice
   * @param {(buffer: AudioBuffer) => object | null} play
   */
  constructor(voice, play) {
    this.voice = voice;
    this.play = play;
    this.leftOut = { frame: new Map(), clip: new Map() };
  }

  async keep({ id, kind, at_s: atS, picture, sound }) {
    const item = document.createElement("li");
    item.dataset.kept = id;
    if (kind === "frame") {
      const image = document.createElement("img");
      image.alt = `Frame kept at ${atS.toFixed(0)} s`;
      image.onerror = () => item.remove(); // forgotten before it was shown
      image.src = picture;
      item.append(image);
      dropIn(byId("strip"), item, MOST_FRAMES);
      return;
    }
    dropIn(byId("chips"), item, MOST_CHIPS);
    const buffer = await this.voice.sound(sound);
    if (!buffer) item.remove();
    else item.append(chip(`the clip kept at ${atS.toFixed(0)} s`, buffer, (it) => this.#replay(it)));
  }

  leaveOut({ kind, reason }) {
    const counts = this.leftOut[kind];
    if (!counts || (!counts.has(reason) && counts.size >= MOST_REASONS)) return;
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
    const told = [...counts].map(([why, number]) => `${number} ${why}`).join(", ");
    byId(kind === "frame" ? "frames-out" : "clips-out").textContent = `left out: ${told}`;
  }

  forget(ids) {
    for (const id of ids) document.querySelector(`[data-kept="${Number(id)}"]`)?.remove();
  }

  #replay(buffer) {
    this.voice.wake(); // a click: now it may sound
    return this.play(buffer);
  }
}

/** Newest first, and no more than `most`. */
function dropIn(list, item, most) {
  list.querySelector(".nothing")?.remove();
  list.prepend(item);
  while (list.children.length > most) list.lastElementChild.remove();
}

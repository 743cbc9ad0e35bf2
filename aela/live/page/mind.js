// What it makes of what it sees: the word, how sure it is, and the moments it leans on.

import { bars, chip, lightUp, triangle } from "./sound.js";

const byId = (id) => document.getElementById(id);

export class Mind {
  /**
   * @param {import("./voice.js").Voice} voice
   * @param {(buffer: AudioBuffer) => object | null} play
   */
  constructor(voice, play) {
    this.voice = voice;
    this.play = play;
    this.wordShown = undefined; // null is silence
    this.momentsShown = "";
    this.clip = null; // the remembered one whose word it is
    byId("as-heard").prepend(triangle());
    byId("as-heard").addEventListener("click", () => this.#playMoment(byId("as-heard"), this.clip.sound));
  }

  /** It makes nothing of what it sees: a sentence why, and what comes next. */
  rest(sentence, hint = "") {
    this.#answer("none", sentence, hint);
    this.#word(null);
    this.#asHeard(null);
    this.#moments([]);
    byId("sharp").hidden = true;
  }

  /** What was made of one picture. */
  look({ sharp, seen, word, clip, moments }, speaks) {
    const mark = byId("sharp");
    mark.hidden = false;
    mark.dataset.sharp = sharp;
    mark.textContent = sharp ? "sharp" : "blurry: hold it still";
    if (!sharp && !seen) {
      this.#answer("blurry", "Too blurry to tell.");
      return; // the last word stays in sight
    }
    if (!seen) {
      this.rest(
        "It has learned nothing yet.",
        "Show it two or three things and name each a few times. It learns by itself, in some minutes."
      );
      mark.hidden = false;
      return;
    }
    if (seen.says && seen.unsure) this.#answer("says", "It may know this.");
    else if (seen.says) this.#answer("says", speaks ? "It knows this." : "It would say:");
    else this.#answer("silent", "Silent: it does not know this.");
    meter("sure", seen.confidence, `${Math.round(100 * seen.confidence)} %`);
    meter("novel", seen.novelty, seen.novelty.toFixed(2), seen.threshold);
    this.#word(seen.says ? word : null);
    if (clip) this.#asHeard(seen.says ? clip : null);
    if (moments) this.#moments(moments, seen.says);
  }

  #answer(state, sentence, hint = "") {
    const section = byId("mind");
    if (section.dataset.answer !== state) section.dataset.answer = state;
    write(byId("answer"), sentence);
    write(byId("hint"), hint);
  }

  async #word(id) {
    if (id === this.wordShown) return;
    this.wordShown = id;
    const buffer = id === null ? null : await this.voice.word(id);
    if (id !== this.wordShown) return; // another one meanwhile
    if (id !== null && !buffer) {
      this.wordShown = undefined; // its sound is still coming: the next look tries again
      return;
    }
    const silence = bars();
    silence.classList.add("silence");
    byId("word").replaceChildren(buffer ? chip("the word in its own voice", buffer, this.play) : silence);
  }

  #asHeard(clip) {
    this.clip = clip;
    const button = byId("as-heard");
    button.hidden = clip === null;
    if (!clip) return;
    button.dataset.video = clip.video;
    button.title = `${videoName(clip.video)}, ${clip.time_s.toFixed(1)} s`;
  }

  #moments(moments, says = false) {
    const shown = JSON.stringify(moments.map(({ picture, sound }) => [picture, sound]));
    byId("moments-title").textContent = says ? "It remembers" : "Nearest in its memory";
    byId("moments-title").hidden = moments.length === 0;
    if (shown === this.momentsShown) return;
    this.momentsShown = shown;
    byId("moments").replaceChildren(...moments.map((moment) => this.#moment(moment)));
  }

  #moment({ picture, sound, video, time_s: timeS, when, similarity }) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const image = document.createElement("img");
    const told = document.createElement("span");
    const place = `${videoName(video)}, ${timeS.toFixed(1)} s`;
    button.type = "button";
    button.className = "moment";
    button.disabled = !sound;
    button.title = `${place}, ${Math.round(100 * similarity)} % alike`;
    button.setAttribute("aria-label", `Play the word heard at ${place}`);
    image.src = picture;
    image.alt = "";
    image.onerror = () => item.remove(); // it was forgotten meanwhile
    told.textContent = when ? momentName(new Date(when)) : place;
    button.append(image, ...(sound ? [triangle()] : []));
    button.addEventListener("click", () => this.#playMoment(button, sound));
    item.append(button, told);
    return item;
  }

  /** Play a remembered sound, drawn on its button as long as it lasts. */
  async #playMoment(button, address) {
    await this.voice.wake();
    const buffer = await this.voice.sound(address);
    const playing = buffer && this.play(buffer);
    if (!playing) return;
    const drawn = bars(buffer);
    button.querySelector(".bars")?.remove();
    button.append(drawn);
    await lightUp(drawn, playing);
    drawn.remove();
  }
}

/** Set a text, if it is another than before. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A bar from 0 to 1, with a mark where there is a threshold. */
function meter(id, value, text, mark = null) {
  const element = byId(id);
  const share = Math.min(1, Math.max(0, value));
  if (element.getAttribute("aria-valuetext") === text) return;
  element.setAttribute("aria-valuenow", value.toFixed(2));
  element.setAttribute("aria-valuetext", text);
  element.querySelector("output").textContent = text;
  element.style.setProperty("--share", share);
  if (mark !== null) element.style.setProperty("--mark", mark);
}

/** A video's key without the digits of its hash. */
export function videoName(video) {
  return video.replace(/-[0-9a-f]{8}$/, "");
}

/** A time as people say it: "14:02" today, "12 Nov, 14:02" before. */
export function momentName(date) {
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

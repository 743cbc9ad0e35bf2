// All that is played: the words it says, held ready ahead of time, and remembered sounds.

import { now } from "./connection.js";

const MOST_WORDS = 128; // the server sends what it has not sent for longer again
const MOST_SOUNDS = 24;

export class Voice {
  /** @param {(word: number | null, fromS: number, toS: number) => void} playing told of each sound */
  constructor(playing) {
    this.playing = playing;
    this.audio = null;
    this.words = new Map(); // id -> promise of an AudioBuffer, least used first
    this.sounds = new Map(); // address -> promise of an AudioBuffer, least used first
    this.current = null;
  }

  /** The one AudioContext; browsers let it sound only after a click or key. */
  async wake() {
    this.audio ??= new AudioContext({ latencyHint: "interactive" });
    if (this.audio.state !== "running") await this.audio.resume();
    return this.audio;
  }

  get awake() {
    return this.audio?.state === "running";
  }

  /** Hold a word for later. */
  hold(id, wav) {
    this.words.delete(id);
    this.words.set(id, this.#decode(wav));
    trim(this.words, MOST_WORDS);
  }

  forgetAll() {
    this.words.clear();
    this.forgetSounds();
  }

  forgetSounds() {
    this.sounds.clear();
  }

  /** @returns {Promise<AudioBuffer | null>} */
  word(id) {
    const found = this.words.get(id);
    if (!found) return Promise.resolve(null);
    this.words.delete(id); // least used first, as the server counts
    this.words.set(id, found);
    return found;
  }

  /** Fetch a remembered sound. @returns {Promise<AudioBuffer | null>} */
  sound(address) {
    let found = this.sounds.get(address);
    this.sounds.delete(address);
    found ??= fetch(address)
      .then((answer) => (answer.ok ? answer.arrayBuffer() : Promise.reject(answer.status)))
      .then((bytes) => this.#decode(bytes))
      .catch(() => {
        this.sounds.delete(address); // it may be there the next time
        return null;
      });
    this.sounds.set(address, found);
    trim(this.sounds, MOST_SOUNDS);
    return found;
  }

  /**
   * Play it now, instead of what is playing.
   * @returns {{seconds: number, ended: Promise<void>} | null} null while the page may not sound
   */
  play(buffer, word = null) {
    if (!this.awake) return null;
    this.current?.stop();
    const node = new AudioBufferSourceNode(this.audio, { buffer });
    node.connect(this.audio.destination);
    this.current = node;
    const ended = new Promise((resolve) => {
      node.onended = () => {
        if (this.current === node) this.current = null;
        resolve();
      };
    });
    node.start();
    const fromS = now() + this.audio.baseLatency;
    this.playing(word, fromS, fromS + buffer.duration + (this.audio.outputLatency || 0));
    return { seconds: buffer.duration, ended };
  }

  /** Decoding needs no sounding context: the words are ready before anybody has clicked. */
  #decode(bytes) {
    this.decoder ??= new OfflineAudioContext(1, 1, 44_100);
    return this.decoder.decodeAudioData(bytes).catch(() => null);
  }
}

function trim(map, most) {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}

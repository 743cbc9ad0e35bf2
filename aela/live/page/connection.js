// The socket to the server: connects again by itself and never lets anything pile up.

const FIRST_WAIT_S = 0.5;
const MOST_WAIT_S = 10;
const PING_EVERY_S = 5;
const SILENT_S = 15; // without any message for so long, the connection is lost
const MOST_PICTURE_BACKLOG = 128 * 1024; // bytes that wait to be sent; then pictures are left out
const MOST_SOUND_BACKLOG = 2 * 1024 * 1024; // ... and sound, too
const MOST_UNSEEN = 5; // pictures on their way: more would only be looked at later
const UNSEEN_S = 2; // a picture that was not looked at by then never will be

const PICTURE = 1;
const SOUND = 2;

/** Seconds on the page's media clock, by which all pictures and sounds are stamped. */
export const now = () => performance.now() / 1000;

export class Connection {
  /**
   * @param {object} on
   * @param {(message: object) => void} on.message a JSON message
   * @param {(kind: number, bytes: ArrayBuffer) => void} on.binary a binary message
   * @param {() => void} on.open
   * @param {(waitS: number, reason: string) => void} on.lost it tries again after `waitS` seconds;
   *   `reason` is what the server said, if anything
   */
  constructor(on) {
    this.on = on;
    this.socket = null;
    this.waitS = FIRST_WAIT_S;
    this.heard = 0;
    this.dropped = 0;
    this.unseen = []; // stamps of the pictures that were sent and not looked at yet
    setInterval(() => this.#look(), PING_EVERY_S * 1000);
    addEventListener("online", () => this.#again());
    document.addEventListener("visibilitychange", () => document.hidden || this.#again());
    this.#open();
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  tell(message) {
    if (this.isOpen) this.socket.send(JSON.stringify(message));
  }

  /** Whether a picture may be sent now; if not, it is counted as left out. */
  takesPicture() {
    if (!this.isOpen) return false;
    while (now() - this.unseen[0] > UNSEEN_S) this.unseen.shift();
    if (this.unseen.length < MOST_UNSEEN && this.socket.bufferedAmount <= MOST_PICTURE_BACKLOG) return true;
    this.dropped += 1;
    return false;
  }

  /** The server has looked at the picture of that stamp, and will look at none before it. */
  seen(stampS) {
    this.unseen = this.unseen.filter((sentS) => sentS > stampS);
  }

  picture(stampS, jpeg) {
    if (!this.isOpen) return;
    const message = new Uint8Array(9 + jpeg.byteLength);
    message[0] = PICTURE;
    new DataView(message.buffer).setFloat64(1, stampS, true);
    message.set(new Uint8Array(jpeg), 9);
    this.socket.send(message);
    this.unseen.push(stampS);
  }

  /** Mono samples (Int16Array), stamped with the time of the first. */
  sound(stampS, rateHz, samples) {
    if (!this.isOpen || this.socket.bufferedAmount > MOST_SOUND_BACKLOG) return;
    const message = new ArrayBuffer(13 + samples.byteLength);
    const view = new DataView(message);
    view.setUint8(0, SOUND);
    view.setFloat64(1, stampS, true);
    view.setUint32(9, rateHz, true);
    samples.forEach((sample, i) => view.setInt16(13 + 2 * i, sample, true));
    this.socket.send(message);
  }

  #open() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.heard = now();
    socket.onopen = () => {
      this.unseen = [];
      this.on.open();
    };
    socket.onmessage = ({ data }) => {
      this.heard = now();
      this.waitS = FIRST_WAIT_S;
      if (typeof data === "string") this.on.message(JSON.parse(data));
      else this.on.binary(new Uint8Array(data, 0, 1)[0], data);
    };
    socket.onclose = ({ reason }) => this.#lost(socket, reason);
  }

  #lost(socket, reason) {
    if (socket !== this.socket) return;
    this.socket = null;
    const waitS = this.waitS * (0.75 + Math.random() / 2);
    this.waitS = Math.min(2 * this.waitS, MOST_WAIT_S);
    this.timer = setTimeout(() => this.#open(), waitS * 1000);
    this.on.lost(waitS, reason);
  }

  /** Connect at once instead of waiting on. */
  #again() {
    if (this.socket) return;
    clearTimeout(this.timer);
    this.#open();
  }

  #look() {
    if (!this.socket) return;
    if (now() - this.heard > SILENT_S) {
      const silent = this.socket;
      silent.close();
      this.#lost(silent, ""); // its own close event may take minutes
      return;
    }
    this.tell({ type: "ping", at_s: now() });
    if (this.dropped) this.tell({ type: "dropped", pictures: this.dropped });
    this.dropped = 0;
  }
}

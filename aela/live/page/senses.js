// Camera and microphone of this tab: opens them, and sends what they give to the server.

import { now } from "./connection.js";

const MOST_WIDTH = 640;
const MOST_HEIGHT = 480;
const PICTURE_EVERY_S = 0.1;
const JPEG_QUALITY = 0.85;
const CLOCK_CREEP = 0.001; // how fast the sound's clock may fall behind the page's
const CLOCK_JUMP_S = 2; // a larger difference means that the sound stood still

const CAMERA = { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: { ideal: "environment" } };
// Echo cancellation keeps its own voice out. Noise suppression and automatic gain would bend the
// words and lift the noise between them, by which words are found.
const MICROPHONE = { echoCancellation: true, noiseSuppression: false, autoGainControl: false };

/** A sentence for the person in front of the page. */
export class Trouble extends Error {}

/**
 * Ask for camera and microphone; with one of them missing, the other.
 * @returns {Promise<{stream: MediaStream, lacks: string}>} `lacks`: a sentence, or ""
 * @throws {Trouble} neither can be used
 */
export async function openSenses() {
  const devices = navigator.mediaDevices;
  if (!devices) {
    throw new Trouble(
      "Browsers give camera and microphone only to pages from this machine (http://127.0.0.1) or over https: open the page at such an address."
    );
  }
  try {
    return { stream: await devices.getUserMedia({ video: CAMERA, audio: MICROPHONE }), lacks: "" };
  } catch (error) {
    if (error.name !== "NotFoundError") throw new Trouble(why(error));
  }
  try {
    const stream = await devices.getUserMedia({ video: CAMERA });
    return { stream, lacks: "There is no microphone: it sees, but hears no names." };
  } catch (error) {
    if (error.name !== "NotFoundError") throw new Trouble(why(error));
  }
  try {
    const stream = await devices.getUserMedia({ audio: MICROPHONE });
    return { stream, lacks: "There is no camera: it hears, but sees nothing." };
  } catch (error) {
    throw new Trouble(why(error));
  }
}

function why(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The browser was told to keep camera and microphone from this page: allow both beside its address, then start again.";
    case "NotFoundError":
      return "There is neither a camera nor a microphone: plug one in, then start again.";
    case "NotReadableError":
    case "AbortError":
      return "Camera or microphone are in use by another program: close it, then start again.";
    default:
      return `Camera and microphone did not open (${error.name}): start again, or try another browser.`;
  }
}

/**
 * Send up to ten pictures a second of what the video element shows.
 * @returns {() => void} stops it
 */
export function sendPictures(video, connection) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { alpha: false });
  let sent = -Infinity;
  let encoding = false;
  let running = true;

  function look(_time, shown = {}) {
    if (!running) return;
    next();
    // A little early is in time: pictures come in steps of their own.
    if (document.hidden || encoding || now() - sent < PICTURE_EVERY_S - 0.01 || !video.videoWidth) return;
    sent = now();
    if (!connection.takesPicture()) return;
    const stampS = shown.captureTime === undefined ? sent : shown.captureTime / 1000;
    const scale = Math.min(1, MOST_WIDTH / video.videoWidth, MOST_HEIGHT / video.videoHeight);
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    encoding = true;
    canvas.toBlob(
      async (blob) => {
        const jpeg = await blob?.arrayBuffer();
        encoding = false;
        if (running && jpeg) connection.picture(stampS, jpeg);
      },
      "image/jpeg",
      JPEG_QUALITY
    );
  }

  const next = () =>
    video.requestVideoFrameCallback
      ? video.requestVideoFrameCallback(look)
      : setTimeout(look, PICTURE_EVERY_S * 1000);
  next();
  return () => {
    running = false;
  };
}

/**
 * Send what the microphone gives, in blocks of 40 ms.
 * @returns {Promise<() => void>} stops it
 */
export async function sendSound(audio, stream, connection) {
  await audio.audioWorklet.addModule("/page/worklet.js");
  const source = audio.createMediaStreamSource(stream);
  const gather = new AudioWorkletNode(audio, "gather", { numberOfOutputs: 0 });
  let offsetS = null; // from the sound's clock to the page's

  gather.port.onmessage = ({ data: { endS, block } }) => {
    // A block arrives some time after its end: the least delay seen is the nearest to none.
    const seenS = now() - endS;
    const lengthS = block.length / audio.sampleRate;
    if (offsetS === null || Math.abs(seenS - offsetS) > CLOCK_JUMP_S) offsetS = seenS;
    else offsetS = Math.min(seenS, offsetS + CLOCK_CREEP * lengthS);
    // Hidden, it sees nothing to name, and another tab may play words that are not to be learned.
    if (!document.hidden) connection.sound(endS - lengthS + offsetS, audio.sampleRate, block);
  };
  source.connect(gather);
  return () => {
    source.disconnect();
    gather.port.onmessage = null;
    gather.port.postMessage("stop");
  };
}

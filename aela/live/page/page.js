// The live page: joins the socket, this tab's camera and microphone, its voice, and what is shown.

import { Connection, now } from "./connection.js";
import { Kept } from "./kept.js";
import { Mind, momentName, write } from "./mind.js";
import { Trouble, openSenses, sendPictures, sendSound } from "./senses.js";
import { Level, bars, lightUp } from "./sound.js";
import { Voice } from "./voice.js";

const HELD = 1; // binary messages: a word that is to be said soon,
const AHEAD = 2; // a word for later,
const PICTURE = 3; // a picture of the server's own source
const WORD_HEADER = 5; // bytes
const TOAST_S = 6;
const MOST_TOASTS = 3;
const TAKE_BACK_S = 30; // a tab that was away no longer than this goes on showing
const BUBBLE_S = 1.5; // how long a word is shown that is not played

const byId = (id) => document.getElementById(id);

let state = null; // what the server told last
let senses = null; // {stream, stop}: this tab's own camera and microphone
let begun = false; // this tab shows, or will again when the connection is back
let lostAt = null;
let pictureUrl = "";
let wakeLock = null;
const wanted = {}; // learn and speak as chosen here, kept through a restart of the server

const voice = new Voice((word, from_s, to_s) => {
  connection.tell({ type: "playing", word, from_s, to_s });
});
const play = (buffer) => voice.play(buffer);
const mind = new Mind(voice, play);
const kept = new Kept(voice, play);
const level = new Level(byId("level"));
const connection = new Connection({ open, lost, message, binary });

// ---- the socket -----------------------------------------------------------------------------

function open() {
  voice.forgetAll(); // a new server numbers them anew
  if (begun) connection.tell({ type: "begin", take: now() - (lostAt ?? now()) < TAKE_BACK_S });
  if (lostAt !== null) toast("Connected again.");
  lostAt = null;
}

function lost(waitS, reason) {
  lostAt ??= now();
  const soon = waitS < 1 ? "trying again" : `trying again in ${Math.round(waitS)} s`;
  link("lost", reason || `connection lost, ${soon}`);
  for (const id of ["learn", "speak", "forget"]) byId(id).disabled = true;
  mind.rest("The connection is lost.");
}

function link(name, sentence = name) {
  byId("link").dataset.state = name;
  write(byId("link"), sentence);
}

function message(told) {
  switch (told.type) {
    case "state":
      return showState(told);
    case "look":
      if (senses) connection.seen(told.at_s);
      return mind.look(told, state.speak);
    case "level":
      return level.add(told);
    case "kept":
      return kept.keep(told);
    case "left_out":
      return kept.leaveOut(told);
    case "say":
      return say(told.word);
    case "forgotten":
      kept.forget(told.ids);
      voice.forgetSounds();
      return toast(told.sentence);
    case "notice":
      return toast(told.sentence);
    case "busy":
    case "taken":
      if (told.type === "taken" && senses) toast("Another tab shows now; this one looks on.");
      closeSenses();
      state.taken = true;
      return arrange();
  }
}

function binary(kind, bytes) {
  if (kind === PICTURE) return showPicture(new Blob([bytes.slice(1)], { type: "image/jpeg" }));
  if (kind !== HELD && kind !== AHEAD) return;
  voice.hold(new DataView(bytes).getUint32(1, true), bytes.slice(WORD_HEADER));
}

function showPicture(jpeg) {
  URL.revokeObjectURL(pictureUrl);
  pictureUrl = URL.createObjectURL(jpeg);
  byId("picture").src = pictureUrl;
}

// ---- what it says -----------------------------------------------------------------------------

/** Say a word: by the tab that shows or, where the server has its own source, by every page. */
async function say(id) {
  const mine = senses !== null || state?.source !== "page";
  const buffer = await voice.word(id);
  if (!buffer) return;
  const silent = { seconds: BUBBLE_S, ended: new Promise((done) => setTimeout(done, BUBBLE_S * 1000)) };
  const playing = (mine && voice.play(buffer, id)) || silent;
  const bubble = byId("saying");
  bubble.dataset.word = id;
  bubble.querySelector(".bars")?.remove();
  const drawn = bars(buffer);
  bubble.append(drawn);
  bubble.hidden = false;
  byId("stage").classList.add("speaking");
  byId("spoken").textContent = `It says its word, ${byId("sure").getAttribute("aria-valuetext") ?? "not very"} sure.`;
  await lightUp(bubble, playing);
  if (!bubble.contains(drawn)) return; // it says another one by now
  bubble.hidden = true;
  byId("stage").classList.remove("speaking");
  byId("spoken").textContent = "";
}

// ---- what the server tells --------------------------------------------------------------------

function showState(told) {
  const before = state;
  state = told;
  if (before && before.session !== told.session) {
    for (const [type, on] of Object.entries(wanted)) connection.tell({ type, on });
  } else {
    for (const name of Object.keys(wanted)) wanted[name] = told[name]; // others may choose, too
  }
  if (before && told.generation && before.generation?.sha !== told.generation.sha) {
    toast("It has learned: a new generation speaks.");
  }
  for (const name of ["learn", "speak"]) {
    byId(name).disabled = false;
    byId(name).setAttribute("aria-pressed", told[name]);
  }
  byId("forget").disabled = false;
  link("connected"); // not before its buttons and keys do something
  document.body.classList.toggle("not-learning", !told.learn);
  showMemory(told.memory);
  showDropped(told.dropped);
  showTraining(told.training, told.generation);
  if (told.home) showHome(told.home);
  arrange();
}

function showHome(home) {
  write(byId("home"), home);
  if (!home.includes("://")) return;
  write(byId("where"), "an object store");
  write(byId("stays"), "No film is kept, and nothing goes anywhere else.");
}

function showMemory(memory) {
  const counts = {
    "count-frames": memory.frames,
    "count-clips": memory.clips,
    "count-videos": memory.videos,
  };
  for (const [id, count] of Object.entries(counts)) write(byId(id), count.toLocaleString());
  write(byId("clips-name"), `clips, ${Math.round(memory.seconds).toLocaleString()} s`);
  const { open_frames: frames, open_clips: clips } = memory;
  write(byId("open"), frames || clips ? `and ${named(frames, "frame")}, ${named(clips, "clip")} of this minute` : "");
}

function named(count, thing) {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}

function showDropped({ pictures, sound_s: soundS }) {
  const told = [];
  if (pictures) told.push(`${pictures.toLocaleString()} pictures passed over`);
  if (soundS) told.push(`${soundS.toLocaleString()} s of sound lost`);
  write(byId("dropped"), told.join(", "));
}

function showTraining(training, generation) {
  const list = byId("models");
  while (list.children.length > training.length) list.lastElementChild.remove();
  training.forEach(({ model, doing, share }, i) => {
    if (!list.children[i]) {
      const item = document.createElement("li");
      item.append(...["b", "span", "i"].map((name) => document.createElement(name)));
      list.append(item);
    }
    const item = list.children[i];
    write(item.children[0], model.replaceAll("_", " "));
    const busy = share !== null;
    write(item.children[1], busy ? `${doing} ${Math.round(100 * share)} %` : doing);
    item.title = doing;
    item.classList.toggle("busy", busy);
    item.style.setProperty("--share", share ?? 0);
  });
  const sentence = generation
    ? `Generation ${generation.sha.slice(0, 8)} speaks since ${momentName(new Date(generation.published))}; ` +
      `it learned from ${generation.frames.toLocaleString()} frames and ${generation.clips.toLocaleString()} clips.`
    : "Nothing speaks yet.";
  write(byId("generation"), sentence);
  byId("report").hidden = !generation?.report;
}

// ---- who shows --------------------------------------------------------------------------------

/** Show what belongs on the stage. */
function arrange() {
  const own = state && state.source !== "page"; // the server has a camera or file of its own
  let mode = "welcome";
  if (senses) mode = "showing";
  else if (!state) mode = "connecting";
  else if (own) mode = "source";
  else if (state.taken) mode = "elsewhere";
  byId("stage").dataset.mode = mode;
  byId("stage").classList.toggle("seeing", mode === "showing" || mode === "source");
  byId("idle").hidden = state?.learn !== false || !byId("stage").matches(".seeing");
  byId("camera").hidden = mode !== "showing";
  byId("stop").hidden = mode !== "showing";
  byId("picture").hidden = mode !== "source";
  byId("welcome").hidden = mode !== "welcome";
  byId("elsewhere").hidden = mode !== "elsewhere";
  byId("voice-off").hidden = mode !== "source" || voice.awake;
  if (own) write(byId("source-name"), state.source);
  if (mode === "welcome") {
    mind.rest(
      "Nobody is showing it anything.",
      "While it looks, here is the word it would say, how sure it is, and the moments it remembers."
    );
  }
}

async function begin(take) {
  trouble("");
  const buttons = [byId("start"), byId("take")];
  for (const button of buttons) button.disabled = true;
  try {
    await voice.wake();
    const { stream, lacks } = await openSenses();
    if (lacks) trouble(lacks);
    senses = { stream, stop: [] };
    for (const track of stream.getTracks()) track.onended = unplugged;
    const camera = byId("camera");
    const facing = stream.getVideoTracks()[0]?.getSettings().facingMode;
    camera.classList.toggle("mirrored", facing !== "environment"); // as people know themselves
    camera.srcObject = stream;
    camera.play().catch(() => {}); // closed meanwhile
    begun = true;
    connection.tell({ type: "begin", take });
    senses.stop.push(sendPictures(camera, connection));
    if (stream.getAudioTracks().length) {
      const stop = await sendSound(voice.audio, stream, connection);
      if (senses?.stream === stream) senses.stop.push(stop);
      else stop(); // closed meanwhile
    }
    stayAwake();
    arrange();
  } catch (error) {
    if (begun) connection.tell({ type: "end" });
    closeSenses();
    trouble(error instanceof Trouble ? error.message : `This page could not begin (${error.message}): load it again.`);
    arrange();
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

/** Phones darken while nobody touches them. */
async function stayAwake() {
  wakeLock = await navigator.wakeLock?.request("screen").catch(() => null);
}

function closeSenses() {
  begun = false;
  wakeLock?.release();
  wakeLock = null;
  if (!senses) return;
  for (const stop of senses.stop) stop();
  for (const track of senses.stream.getTracks()) {
    track.onended = null;
    track.stop();
  }
  byId("camera").srcObject = null;
  senses = null;
}

function stopShowing() {
  connection.tell({ type: "end" });
  closeSenses();
  arrange();
  byId("start").focus();
}

function unplugged() {
  stopShowing();
  trouble("Camera or microphone went away: plug it in, then start again.");
}

// ---- people -----------------------------------------------------------------------------------

function trouble(sentence) {
  byId("trouble").hidden = !sentence;
  byId("trouble").textContent = sentence;
}

function toast(sentence) {
  const note = document.createElement("p");
  note.textContent = sentence;
  const toasts = byId("toasts");
  toasts.append(note);
  while (toasts.children.length > MOST_TOASTS) toasts.firstElementChild.remove();
  setTimeout(() => note.remove(), TOAST_S * 1000);
}

function flip(name) {
  if (!state || !connection.isOpen) return;
  wanted[name] = !state[name];
  connection.tell({ type: name, on: wanted[name] });
}

const actions = {
  learn: () => flip("learn"),
  speak: () => flip("speak"),
  forget: () => connection.tell({ type: "forget" }),
  help: () => byId("about").showModal(),
};
for (const [id, act] of Object.entries(actions)) byId(id).addEventListener("click", act);
byId("start").addEventListener("click", () => begin(false));
byId("take").addEventListener("click", () => begin(true));
byId("stop").addEventListener("click", stopShowing);
byId("voice-on").addEventListener("click", async () => {
  await voice.wake();
  arrange();
});

byId("keys").checked = localStorage.getItem("keys") !== "off";
byId("keys").addEventListener("change", () => {
  localStorage.setItem("keys", byId("keys").checked ? "on" : "off");
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || byId("about").open) return;
  if (!byId("keys").checked) return;
  const name = { l: "learn", s: "speak", f: "forget", "?": "help" }[event.key.toLowerCase()];
  if (name && !byId(name).disabled) actions[name]();
});

document.addEventListener("visibilitychange", () => {
  const blind = document.hidden && senses !== null;
  document.title = blind ? "AELA cannot see: tab hidden" : "AELA";
  if (document.hidden || !senses) return;
  toast("While this tab was hidden, it neither saw nor heard.");
  voice.wake();
  stayAwake();
});

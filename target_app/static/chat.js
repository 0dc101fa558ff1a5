// The chat page: one WebSocket that comes back by itself, and a log of what arrives on it.

"use strict";

const HEARTBEAT = "Server is running...";
const SHUTTING_DOWN = "Server is shutting down, please disconnect.";
const COMING_AND_GOING = /^Client "[^"]+" (connected|disconnected)\.$/;
const SAID = /^Client (-?\d+): ([^]*)$/;
const MOST_LINES = 1000;
const FIRST_WAIT_SECONDS = 0.5;
const LONGEST_WAIT_SECONDS = 10;
const BETWEEN_MOVES_SECONDS = 10; // from one connection to another, because anybody can ask for it
const MOVE_WITHIN_SECONDS = 1;
const LINGER_SECONDS = 1; // what was said to the old connection alone is under way for less

const CLOSED = {
  1000: "closed",
  1001: "the server is shutting down",
  1006: "the connection was lost",
  1008: "the server did not allow it",
  1009: "a message was too big",
  1011: "the server had a problem",
  1012: "the server is restarting",
  1013: "the server is busy, or this page read too slowly",
};

const at = (id) => document.getElementById(id);
const ownId = String(Date.now());

let socket = null;
let next = null; // the connection that may take the place of socket, while it is being opened
let left = null; // the one whose place it took, until what was under way on it has come
let moving = null; // the timer until the page moves
let moved = -Infinity; // when it last did
let onlyOnce = []; // what has come on one of two connections and not yet on the other
let failures = 0;
let retry = null; // the timer that counts down to the next try
let wanted = true; // false once the user has disconnected
let lost = null; // why there is no connection, in words, from its loss until the next one
let lastBeat = null;
let atEnd = true; // whether the newest message is in sight

// --- what arrives

function received(text, by) {
  if (text === SHUTTING_DOWN) {
    if (by === socket) moveSoon();
    return;
  }
  if (cameOnTheOther(text, by)) return;
  // What somebody says comes first: it may look like a notice, but it has a name before it.
  const said = SAID.exec(text);
  if (said) {
    addChat(said[1], said[2]);
  } else if (text === HEARTBEAT) {
    beat();
  } else if (COMING_AND_GOING.test(text)) {
    addLine("notice", text);
  } else {
    addChat(null, text);
  }
}

function addChat(id, text) {
  const own = id === ownId;
  const line = addLine(own ? "chat own" : "chat", "");
  const by = document.createElement("span");
  by.className = "by";
  by.textContent = own ? "You" : id === null ? "Somebody" : `Client ${id}`;
  line.append(by, text);
}

function addLine(kind, text) {
  const line = document.createElement("li");
  line.className = kind;
  line.textContent = text; // never as HTML: it comes from anybody
  at("empty").hidden = true;
  at("log").append(line);
  while (at("log").children.length > MOST_LINES) at("log").firstChild.remove();
  // Only who was at the end is taken along; everyone else is told.
  if (atEnd) requestAnimationFrame(toEnd);
  else at("unread").hidden = false;
  return line;
}

function toEnd() {
  atEnd = true;
  at("scroll").scrollTop = at("scroll").scrollHeight;
  at("unread").hidden = true;
}

function beat() {
  lastBeat = Date.now();
  at("dot").classList.remove("beat");
  requestAnimationFrame(() => at("dot").classList.add("beat"));
  showBeat();
}

function showBeat() {
  if (lastBeat === null) return;
  const seconds = Math.round((Date.now() - lastBeat) / 1000);
  at("heartbeat").textContent = `Last heartbeat ${seconds < 1 ? "just now" : `${seconds} s ago`}`;
}

// --- the connection

function address() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}${document.body.dataset.path}/${ownId}${location.search}`;
}

function connect() {
  clearInterval(retry);
  wanted = true;
  show("connecting", "Connecting …");
  socket = dial();
}

function dial() {
  const dialled = new WebSocket(address());
  dialled.onopen = () => opened(dialled);
  dialled.onmessage = (event) => received(String(event.data), dialled);
  dialled.onclose = (event) => closed(dialled, event);
  return dialled;
}

function opened(by) {
  if (by === next) takeNext();
  failures = 0;
  lost = null;
  at("shutdown").hidden = true;
  show("connected", "Connected");
}

function closed(by, event) {
  if (by === next) {
    next = null;
    stayOrLeave();
    return;
  }
  if (by !== socket) return; // it was left
  // What ended the connection is worth more than why a later try did not succeed.
  lost ??= `${event.reason || CLOSED[event.code] || "closed"} (${event.code})`;
  if (!wanted) {
    lost = null;
    at("shutdown").hidden = true;
    show("disconnected", "Disconnected");
    return;
  }
  clearTimeout(moving);
  moving = null;
  if (next !== null) {
    socket = next;
    next = null;
    show("connecting", "Connecting …");
    return;
  }
  // Full jitter: all pages lost the same server, and should not all come back at one instant.
  const longest = Math.min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** failures);
  failures += 1;
  countDown(Date.now() + Math.random() * longest * 1000, lost);
}

function countDown(due, told) {
  const tick = () => {
    const seconds = Math.max(0, (due - Date.now()) / 1000);
    if (seconds === 0) connect();
    else show("waiting", `${capital(told)}. Reconnecting in ${Math.ceil(seconds)} s`);
  };
  retry = setInterval(tick, 100);
  tick();
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function show(state, told) {
  at("connection").dataset.state = state;
  if (at("state").textContent !== told) at("state").textContent = told;
  at("reconnect").hidden = state === "connected" || state === "connecting";
  at("disconnect").hidden = state !== "connected";
  at("send").disabled = state !== "connected";
  at("hint").textContent =
    state === "connected"
      ? "Enter sends, Shift+Enter begins a new line."
      : "Not connected: what you write stays here until you are again.";
}

// --- the move to another connection

// Who has no number can say what a server says that drains, and no other server knows whether this
// one does. So nobody is asked: a new connection reaches one that stays, if there is one. That
// costs a handshake, should it have been a lie.

function moveSoon() {
  if (moving !== null || next !== null || !wanted) return;
  // Not all pages at one instant: all hear it at once.
  const due = Math.max(Date.now(), moved + BETWEEN_MOVES_SECONDS * 1000);
  moving = setTimeout(move, due - Date.now() + Math.random() * MOVE_WITHIN_SECONDS * 1000);
}

function move() {
  moving = null;
  moved = Date.now();
  next = dial();
}

function takeNext() {
  const old = socket;
  [socket, next, left] = [next, null, old];
  setTimeout(() => {
    old.close(1000);
    if (left === old) left = null;
  }, LINGER_SECONDS * 1000);
}

function cameOnTheOther(text, by) {
  const now = Date.now();
  // What came before the other connection was there is forgotten by the time this one is left: the
  // same words that come then are said anew.
  onlyOnce = onlyOnce.filter((each) => now - each.at < LINGER_SECONDS * 1000);
  const twin = onlyOnce.findIndex((each) => each.text === text && each.by !== by);
  if (twin !== -1) onlyOnce.splice(twin, 1);
  else if (next !== null || left !== null) onlyOnce.push({ text, by, at: now });
  return twin !== -1;
}

async function stayOrLeave() {
  const asked = socket;
  const leave = await drains();
  if (asked !== socket || !wanted) return;
  if (!leave) {
    // All places are taken. Without this question a lie would cost this page its own.
    addLine("notice", SHUTTING_DOWN);
    return;
  }
  at("shutdown").textContent =
    "The server is shutting down. This page will come back to it when it is there again.";
  at("shutdown").hidden = false;
  // The server waits for this page to leave, and cannot say so to whoever stays.
  lost ??= "the server is shutting down";
  asked.close(1000);
}

async function drains() {
  const base = document.body.dataset.path.replace(/\/ws$/, "");
  try {
    const answer = await fetch(`${base}/readyz`);
    return (await answer.json()).status === "draining";
  } catch {
    return true; // nobody answers any more
  }
}

// --- what the user does

function send() {
  const text = at("text").value;
  if (!text.trim() || socket.readyState !== WebSocket.OPEN) return;
  socket.send(text);
  at("text").value = "";
  grow();
  toEnd();
}

function grow() {
  at("text").style.height = "auto";
  at("text").style.height = `${at("text").scrollHeight + 2}px`;
}

at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
  at("text").focus();
});
at("text").addEventListener("keydown", (event) => {
  // An Enter that chooses a word in an input method is not one that sends.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});
at("text").addEventListener("input", grow);
at("reconnect").addEventListener("click", connect);
at("disconnect").addEventListener("click", () => {
  wanted = false;
  clearTimeout(moving);
  const all = [socket, next, left];
  [moving, next, left] = [null, null, null];
  for (const each of all) each?.close(1000);
});
at("unread").addEventListener("click", toEnd);
at("scroll").addEventListener("scroll", () => {
  const scroll = at("scroll");
  atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
  if (atEnd) at("unread").hidden = true;
});
// A banner or a phone's keyboard takes room away from the messages.
new ResizeObserver(() => atEnd && toEnd()).observe(at("scroll"));

at("own-id").textContent = `client ${ownId}`;
const room = new URLSearchParams(location.search).get("room");
if (room) at("room").textContent = ` in room ${room}`;
setInterval(showBeat, 1000);
connect();

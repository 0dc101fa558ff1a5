// A Node server on `ws`: echo, and broadcast on /ws. Run as `node server.mjs PORT`.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: false,
});

// Not server.clients: those of other paths are not of the audience.
const audience = new Set();

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (request.url === "/ws") {
    audience.add(socket);
    socket.on("close", () => audience.delete(socket));
    socket.on("message", (data, binary) => {
      for (const client of audience) client.send(data, { binary });
    });
  } else {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
  }
});

server.on("listening", () => {
  process.stderr.write(`listening on ws://127.0.0.1:${server.address().port}\n`);
});

process.on("SIGTERM", () => process.exit(0));

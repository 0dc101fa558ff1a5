// A Node server on `ws`: echo, and broadcast on /ws. Run as `node server.mjs PORT`.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: false,
});

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  socket.on("message", (data, binary) => {
    if (request.url !== "/ws") {
      socket.send(data, { binary });
      return;
    }
    for (const client of server.clients) client.send(data, { binary });
  });
});

server.on("listening", () => {
  process.stderr.write(`listening on ws://127.0.0.1:${server.address().port}\n`);
});

process.on("SIGTERM", () => process.exit(0));

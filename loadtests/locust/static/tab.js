// Shows our page in our tab in Locust's page, whose own tabs can only show text in tables.
"use strict";

const frame = document.createElement("iframe");
frame.src = "./swarmgate/";
frame.title = "swarmgate";
frame.style.cssText = "border: 0; width: 100%; height: 70vh; display: block";
frame.addEventListener("load", () => {
  const page = frame.contentDocument;
  // As tall as its content, so that there is one scroll bar and not two.
  const fit = () => { frame.style.height = `${page.body.offsetHeight}px`; };
  new frame.contentWindow.ResizeObserver(fit).observe(page.body);
  fit();
});

function place() {
  const chosen = document.querySelector('[role="tab"][aria-selected="true"]');
  if (chosen?.textContent !== "swarmgate") {
    if (frame.isConnected) frame.remove();
    return;
  }
  const box = chosen.closest(".MuiContainer-root") ?? document.body;
  if (frame.parentNode !== box) box.append(frame);
}

new MutationObserver(place).observe(document.getElementById("root"), {
  attributeFilter: ["aria-selected"], childList: true, subtree: true,
});
place();

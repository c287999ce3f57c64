// Small component: hands each message to the code that boot.js loaded, or keeps it until that is there.

/** @import { Component, Hub } from "../../messages.js" */

/** @param {Component} component */
export default function (component) {
  const page = /** @type {{ __HUB__?: Hub }} */ (globalThis);
  /** @type {Hub} */
  const hub = (page.__HUB__ ??= { waiting: new Map() });
  if (hub.render) hub.render(component);
  else {
    hub.waiting.set(component.parentElement, component);
    // Again, where it did not come.
    hub.load?.();
  }
  return () => {
    hub.waiting.delete(component.parentElement);
    hub.unmount?.(component.parentElement);
  };
}
